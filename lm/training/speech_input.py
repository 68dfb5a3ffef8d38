"""Speech input of the language model: vectors of clips as a second embedding table, by index, on the first stage.

::

    table (C x P, H) = connector(encoder(clips))
    hidden           = where(index >= 0, table[index], embedding of the token)

The index is laid out as the tokens are and cut like them, so packing and every kind of parallelism need no more code.
Of tensor parallel processes each computes the whole table, but of recordings under a frozen encoder each encodes a
share of the clips, and the vectors are gathered. Under sequence parallel each then uses the rows of its own slice, so
the gradients are partial: the parameters are marked ``sequence_parallel``, and megatron-core sums them.

C clips, F frames, M values of a frame, P positions of a clip, H width of the model, B batch, S tokens of this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor, nn

from lm.data.model_inputs import POSITION_BITS, ClipBatch

from .connector import Connector
from .speech_config import SpeechRecord

NAME = "speech_input"
PREFIX = f"{NAME}."
ENCODER_PREFIX, CONNECTOR_PREFIX = f"{PREFIX}encoder.", f"{PREFIX}connector."


class SpeechInput(nn.Module):
    """Encoder and connector; one submodule, ``speech_input``, of the model's first chunk.

    A frozen encoder stays outside the module tree: in its own precision, in no checkpoint and in no gradient buffer.

    Args:
        record: kind of the clips, shape of the connector, and whether the encoder is part of the model.
        encoder: a `tokenizer.hearing.base.SpeechEncoder`, of recordings and codes; None of stored vectors.
        hidden: H.
        is_sequence_parallel: whether tensor parallel processes divide the sequence.
        is_shared: whether tensor parallel processes have the same clips for certain, so that each of them may encode a
            share.
    """

    def __init__(
        self,
        record: SpeechRecord,
        encoder: Any,
        hidden: int,
        *,
        is_sequence_parallel: bool,
        is_shared: bool = True,
    ) -> None:
        super().__init__()
        assert (encoder is None) == (record.kind == "features")
        self.kind, self.is_shared = record.kind, is_shared and record.kind == "audio"
        self.connector = Connector(record.connector, record.width, hidden)
        if record.holds_encoder:
            self.encoder = encoder
        self._outside = [] if record.holds_encoder else [encoder]  # a list is no submodule
        if is_sequence_parallel:
            for parameter in self.parameters():
                cast(Any, parameter).sequence_parallel = True

    def train(self, mode: bool = True) -> SpeechInput:
        """As of every module, but the encoder stays in evaluation mode: batch mates must change no vector."""
        super().train(mode)
        if "encoder" in self._modules:
            self.encoder.eval()
        return self

    def forward(self, clips: ClipBatch) -> Tensor:
        """The table (C, P, H)."""
        vectors_CTE, lengths_C = self._vectors(clips)
        return cast(Tensor, self.connector(vectors_CTE, lengths_C))

    def _vectors(self, clips: ClipBatch) -> tuple[Tensor, Tensor]:
        if self.kind == "features":
            return clips.frames, clips.lengths
        if "encoder" in self._modules:
            return self._encode(self.encoder, clips)
        (encoder,) = self._outside
        with torch.no_grad():
            encoder = encoder.to(clips.frames.device)
            return self._encode_share(encoder, clips) if self.is_shared else self._encode(encoder, clips)

    def _encode_share(self, encoder: Any, clips: ClipBatch) -> tuple[Tensor, Tensor]:
        """The vectors of all clips, of which each tensor parallel process encodes every n-th."""
        group = parallel_state.get_tensor_model_parallel_group()
        size, num_clips = group.size(), len(clips.lengths)
        if size == 1 or num_clips == 1:
            return self._encode(encoder, clips)
        count = -(-num_clips // size)
        # All shares are of one size, for the gathering: the last clip fills up those that would be smaller.
        own = (torch.arange(count, device=clips.lengths.device) * size + group.rank()).clamp(max=num_clips - 1)
        # Frames stay padded to the longest clip of all: the positions of a share depend on nothing else.
        share = clips._replace(frames=clips.frames[own], lengths=clips.lengths[own])
        gathered = []
        for local in self._encode(encoder, share):
            whole = local.new_empty(size * count, *local.shape[1:])
            dist.all_gather_into_tensor(whole, local.contiguous(), group=group)
            # process by process -> clip by clip
            gathered.append(whole.unflatten(0, (size, count)).transpose(0, 1).flatten(0, 1)[:num_clips])
        vectors_CTE, positions_C = gathered
        return vectors_CTE, positions_C

    def _encode(self, encoder: Any, clips: ClipBatch) -> tuple[Tensor, Tensor]:
        found = (encoder.from_codes if self.kind == "codes" else encoder)(clips.frames, clips.lengths)
        return found.vectors, found.positions


def merge(hidden_SBH: Tensor, table_CPH: Tensor, places_BS: Tensor, *, is_sequence_parallel: bool) -> Tensor:
    """Put the table's rows in their places.

    Args:
        hidden_SBH: embeddings of the tokens; under sequence parallel this process's slice of S.
        table_CPH: of all clips of the micro batch.
        places_BS: clip and position as `lm.data.model_inputs.ClipBatch` has them, -1: the token's own embedding.
        is_sequence_parallel: whether tensor parallel processes divide the sequence.
    """
    places_SB = places_BS.t()
    if is_sequence_parallel:
        size = parallel_state.get_tensor_model_parallel_world_size()
        places_SB = places_SB.chunk(size)[parallel_state.get_tensor_model_parallel_rank()]
    table_NH = table_CPH.flatten(0, 1).to(hidden_SBH.dtype)
    rows_SB = (places_SB >> POSITION_BITS) * table_CPH.size(1) + (places_SB & ((1 << POSITION_BITS) - 1))
    is_vector_SB = places_SB >= 0
    vectors_SBH = nn.functional.embedding(torch.where(is_vector_SB, rows_SB, 0), table_NH)
    # `where` keeps the strides of the transposed index, and pipelines send contiguous tensors only.
    return torch.where(is_vector_SB[..., None], vectors_SBH, hidden_SBH).contiguous()


def part_of(name: str) -> str:
    """The part (`lm.training.speech_config.PARTS`) that a parameter of the model belongs to."""
    if name.startswith(ENCODER_PREFIX):
        return "encoder"
    return "connector" if name.startswith(CONNECTOR_PREFIX) else "lm"


def freeze(chunk: nn.Module, trained: Sequence[str]) -> None:
    """Let only the ``trained`` parts have gradients; before gradient buffers are made."""
    for name, parameter in chunk.named_parameters():
        parameter.requires_grad_(part_of(name) in trained)
