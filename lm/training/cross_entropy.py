"""Cross-entropy over a vocabulary that tensor parallel processes share, and the log normaliser for the z-loss.

    loss = log Z - logit of the label,  log Z = log sum exp(logits)

One function gives both, so that the z-loss (PaLM, arXiv 2204.02311, section 5) costs no second pass over the logits.

Shapes: S tokens, B batch, V ids, W = V / tensor parallel size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel.mappings import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor

from lm.data.model_inputs import ClipBatch

from .rotary import RotaryTable
from .sliced_loss import sliced_cross_entropy
from .speech_input import NAME, merge


class LanguageModel(GPTModel):
    """megatron-core's model with our cross-entropy, and with a submodule ``speech_input`` where it reads vectors.

    Attributes:
        rotary: cosines and sines of the tokens' positions; set before the first forward.
        gives_normaliser: with labels, the forward returns (2, B, S): losses and log normalisers, instead of (B, S).
        loss_slices: of the vocabulary, in the loss; 1: all scores at once.
    """

    rotary: RotaryTable
    gives_normaliser = False
    loss_slices = 1

    def forward(self, *arguments: Any, clips: ClipBatch | None = None, is_text: bool = False, **options: Any) -> Tensor:
        """As megatron-core's; ``clips`` are for the chunk with a speech input, and always there (a dummy at least).

        ``is_text``: the documents have no speech, and no clips. The submodule must not be declared as an attribute of
        the class: that would hide it.
        """
        expected = NAME in self._modules and not is_text
        assert (clips is not None) == expected, "clips for a model without speech input, or none"
        if clips is not None:
            ids, positions = arguments[:2]
            hidden_SBH = self.embedding(input_ids=ids, position_ids=positions)
            is_divided = self.config.sequence_parallel
            options["decoder_input"] = merge(
                hidden_SBH, self.speech_input(clips), clips.places, is_sequence_parallel=is_divided
            )
        return cast(Tensor, super().forward(*arguments, **options))

    def _preprocess(self, input_ids: Tensor, position_ids: Tensor, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """As megatron-core's, with our table in the place of its rotary positions."""
        decoder_input, _, *rest = super()._preprocess(input_ids, position_ids, *arguments, **options)
        return decoder_input, self.rotary(position_ids, self.config.params_dtype), *rest

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Labels (B, S) and logits (S, B, W) to losses."""
        if self.config.cross_entropy_loss_fusion and not self.gives_normaliser:
            return cast(Tensor, super().compute_language_model_loss(labels, logits))
        return self._output(*cross_entropy(logits, labels.t(), self.pg_collection.tp))

    def _postprocess(
        self, hidden_states: Tensor, input_ids: Tensor, position_ids: Tensor, labels: Tensor | None, *arguments: Any,
        **options: Any,
    ) -> Tensor:  # fmt: skip
        """As megatron-core's, but that the output layer and the loss are one where the loss is made in slices."""
        if self.loss_slices == 1 or labels is None or not self.post_process:
            return cast(
                Tensor, super()._postprocess(hidden_states, input_ids, position_ids, labels, *arguments, **options)
            )
        for wait in self.output_layer._forward_pre_hooks.values():  # for weights that are still on their way
            wait(self.output_layer, ())
        weight = self.output_layer.weight
        if self.share_embeddings_and_output_weights:
            weight = self.shared_embedding_or_output_weight()
        group = self.pg_collection.tp
        if self.config.sequence_parallel:
            hidden_states = gather_from_sequence_parallel_region(hidden_states, group=group)
        elif group.size() > 1:
            hidden_states = copy_to_tensor_model_parallel_region(hidden_states, group=group)
        return self._output(*sliced_cross_entropy(hidden_states, weight, labels.t(), group, self.loss_slices))

    def _output(self, losses: Tensor, normalisers: Tensor) -> Tensor:
        """Of losses and log normalisers (S, B) what the forward returns."""
        if not self.gives_normaliser:
            return losses.t().contiguous()
        return torch.stack([losses.t(), normalisers.t()])


def cross_entropy(logits: Tensor, labels: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
    """Losses and log normalisers, both (S, B) in fp32; the logits' memory is used up.

    Args:
        logits: (S, B, W), this process's part of the ids.
        labels: (S, B).
        group: the processes that share the vocabulary.
    """
    return cast(tuple[Tensor, Tensor], _CrossEntropy.apply(logits, labels, group))


class _CrossEntropy(torch.autograd.Function):
    """d loss = softmax - onehot, d log Z = softmax."""

    @staticmethod
    def forward(context: Any, logits: Tensor, labels: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
        is_shared = group.size() > 1
        logits_SBW = logits.detach().float()  # no copy in fp32: the caller's logits are overwritten below
        largest = logits_SBW.amax(-1)
        if is_shared:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
        logits_SBW.sub_(largest[..., None])
        places = labels - group.rank() * logits.size(-1)
        is_local = (places >= 0) & (places < logits.size(-1))
        places = torch.where(is_local, places, 0)[..., None]
        chosen = torch.where(
            is_local, logits_SBW.gather(-1, places)[..., 0], 0.0
        )  # a masked score is -inf: not times 0
        total = logits_SBW.exp_().sum(-1)
        if is_shared:
            both = torch.stack([chosen, total])
            dist.all_reduce(both, group=group)
            chosen, total = both
        context.save_for_backward(logits_SBW.div_(total[..., None]), places, is_local)
        context.dtype = logits.dtype
        normaliser = total.log()
        return normaliser - chosen, normaliser + largest

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        softmax, places, is_local = context.saved_tensors
        of_loss, of_normaliser = gradients
        softmax.mul_((of_loss + of_normaliser)[..., None])
        softmax.scatter_add_(-1, places, -(of_loss * is_local)[..., None])
        return softmax.to(context.dtype), None, None
