"""Causal attention for the local layers: dense with a mask, packed by ``cu_seqlens``, or context parallel.

megatron-core 0.16.1's local attention refuses packed documents and context parallel, and is slower. On a GPU packed
documents go through torch's variable-length flash attention, which needs no mask (with a mask and grouped queries torch
has no flash kernel, and keeps S x S weights for each head); elsewhere they are turned into the mask.

Shapes: S tokens of a sequence (on this process), B batch, H query heads, G key-value heads, R = H / G, D width of a
head, N tokens of packed sequences, C context parallel size, K = S x C keys.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from lm.data.model_inputs import document_mask

# Up to this many keys (beyond, the kept attention weights take too much memory), matrix products over blocks of this
# many queries beat torch's fused CPU kernel: 1.2 to 1.6 times as fast in fp32, 2.5 to 4 times in bf16; on a processor
# with AMX 1.1 to 1.3 times in fp32 and twice in bf16.
MAX_BLOCK_KEYS = 2048
QUERY_BLOCK = 128
CAUSAL = (-1, 0)  # window of keys: all before, none after
MAX_FLASH_WIDTH = 256  # of a head


def has_varlen_attention(config: TransformerConfig, device: torch.device) -> bool:
    """Whether torch's attention for documents of any length runs here, with our heads and precision."""
    is_fitting = config.kv_channels % 8 == 0 and config.kv_channels <= MAX_FLASH_WIDTH
    if device.type != "cuda" or not is_fitting or config.params_dtype != torch.bfloat16 or config.attention_dropout:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


class CausalAttention(MegatronModule):
    """Core attention of a decoder layer.

    With context parallel each process holds two of 2C chunks of the sequence (the balanced order of megatron-core's
    rotary positions) and gathers the keys and values of all; the mask then has one column for each gathered key.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: ProcessGroupCollection | None = None,
    ) -> None:
        super().__init__(config=config)
        assert attention_type == "self" and pg_collection is not None
        self.context_group = pg_collection.cp
        self.scale = softmax_scale or 1.0 / math.sqrt(config.kv_channels)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (S, B, H, D), packed: (N, H, D).
            key: (S, B, G, D), packed: (N, G, D).
            value: as ``key``.
            attention_mask: (B, 1, S, K): bool, True where a query may look, or 0 and -inf to add; None: causal.
            attn_mask_type: not used; attention is causal.
            attention_bias: not supported.
            packed_seq_params: where the documents of a packed (thd) batch begin.

        Returns:
            (S, B, H x D), packed: (N, H, D).
        """
        assert attention_bias is None
        if packed_seq_params is not None:
            return self._packed(query, key, value, packed_seq_params)
        if self.context_group.size() > 1:
            assert attention_mask is not None, "context parallel needs the mask of gathered positions"
            key = gather_from_sequence_parallel_region(key, group=self.context_group)
            value = gather_from_sequence_parallel_region(value, group=self.context_group)
        if self._are_blocks_faster(query, key, attention_mask):
            is_ordered = self.context_group.size() == 1
            return cast(Tensor, _BlockAttention.apply(query, key, value, attention_mask, self.scale, is_ordered))
        query_BHSD, key_BGKD, value_BGKD = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        context = self._attend(query_BHSD, key_BGKD, value_BGKD, attention_mask)
        return context.permute(2, 0, 1, 3).reshape(query.size(0), query.size(1), -1)

    def _are_blocks_faster(self, query: Tensor, key: Tensor, mask: Tensor | None) -> bool:
        is_small = query.device.type == "cpu" and key.size(0) <= MAX_BLOCK_KEYS
        has_no_dropout = self.dropout == 0.0 or not self.training
        return is_small and has_no_dropout and (mask is None or mask.is_floating_point())

    def _packed(self, query: Tensor, key: Tensor, value: Tensor, packed: PackedSeqParams) -> Tensor:
        boundaries, longest = packed.cu_seqlens_q, packed.max_seqlen_q
        assert boundaries is not None and longest is not None
        if has_varlen_attention(self.config, query.device):
            output = varlen_attn(
                query.contiguous(),
                key.contiguous(),
                value.contiguous(),
                boundaries,
                boundaries,
                longest,
                longest,
                scale=self.scale,
                window_size=CAUSAL,
                enable_gqa=query.size(1) != key.size(1),
            )
            return cast(Tensor, output)
        # Sequences of the same length lie end to end: beside each other, with a mask, they are a batch.
        num_tokens = query.size(0)
        assert num_tokens % longest == 0, f"{num_tokens} tokens are no sequences of {longest}"
        is_first = torch.zeros(num_tokens + 1, dtype=torch.int32, device=query.device)
        is_first[boundaries.long()] = 1
        numbers_BS = is_first[:-1].cumsum(0).view(-1, longest)
        mask = document_mask(numbers_BS, 0, 1, query.dtype)
        beside = (tensor.view(-1, longest, *tensor.shape[1:]).transpose(0, 1) for tensor in (query, key, value))
        output_SBF = self(*beside, mask)
        return cast(Tensor, output_SBF.transpose(0, 1).reshape(query.shape))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
            enable_gqa=query.size(1) != key.size(1),
        )


class _BlockAttention(torch.autograd.Function):
    """softmax(q k^T scale + mask) v, block by block of queries, as batched matrix products over key-value heads.

    Where keys stand in the order of the queries, a block takes only the keys up to its end: half of the square.
    """

    @staticmethod
    def forward(
        context: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, is_ordered: bool
    ) -> Tensor:
        (S, B, H, D), (K, _, G, _) = query.shape, key.shape
        R = H // G
        key_GKD, value_GKD = _by_group(key[:, :, :, None]), _by_group(value[:, :, :, None])
        output = query.new_empty(S, B, G, R, D)
        blocks, kept = [], []
        for start in range(0, S, QUERY_BLOCK):
            stop = min(S, start + QUERY_BLOCK)
            end = stop if is_ordered else K
            query_GRD = _by_group(query[start:stop].reshape(-1, B, G, R, D)).mul_(scale)  # (B G, R Q, D), Q queries
            scores = torch.bmm(query_GRD, key_GKD[:, :end].transpose(1, 2))
            if mask is not None:
                scores.view(B, H, -1, end).add_(mask[:, :, start:stop, :end])
            else:
                future = scores.new_full((stop - start, stop - start), float("-inf")).triu_(1)
                scores.view(B, H, -1, end)[..., start:].add_(future)
            weights = scores.softmax(-1)
            output[start:stop] = _by_token(torch.bmm(weights, value_GKD[:, :end]), stop - start, B, G, R, D)
            blocks.append((start, stop, end))
            kept += [query_GRD, weights]
        context.save_for_backward(key_GKD, value_GKD, *kept)
        context.blocks, context.sizes, context.scale = blocks, (S, B, G, R, D), scale
        return output.view(S, B, H * D)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        key_GKD, value_GKD, *kept = context.saved_tensors
        (S, B, G, R, D), K = context.sizes, key_GKD.size(1)
        gradient_SBGRD = gradients[0].reshape(S, B, G, R, D)
        query_gradient = torch.empty_like(gradient_SBGRD)
        key_gradient, value_gradient = torch.zeros_like(key_GKD), torch.zeros_like(value_GKD)
        for number, (start, stop, end) in enumerate(context.blocks):
            query_GRD, weights = kept[2 * number], kept[2 * number + 1]
            gradient = _by_group(gradient_SBGRD[start:stop])
            value_gradient[:, :end].baddbmm_(weights.transpose(1, 2), gradient)
            weight_gradient = torch.bmm(gradient, value_GKD[:, :end].transpose(1, 2))
            # The kernel behind softmax's own backward; written by hand it takes three passes over the weights.
            score_gradient = torch._softmax_backward_data(weight_gradient, weights, -1, weights.dtype)
            block_gradient = torch.bmm(score_gradient, key_GKD[:, :end]).mul_(context.scale)
            query_gradient[start:stop] = _by_token(block_gradient, stop - start, B, G, R, D)
            key_gradient[:, :end].baddbmm_(score_gradient.transpose(1, 2), query_GRD)
        return (
            query_gradient.view(S, B, G * R, D),
            _by_token(key_gradient, K, B, G, 1, D).reshape(K, B, G, D),
            _by_token(value_gradient, K, B, G, 1, D).reshape(K, B, G, D),
            None,
            None,
            None,
        )


def _by_group(heads: Tensor) -> Tensor:
    """(S, B, G, R, D) -> a copy (B G, R S, D)."""
    S, B, G, R, D = heads.shape
    return heads.permute(1, 2, 3, 0, 4).clone(memory_format=torch.contiguous_format).view(B * G, R * S, D)


def _by_token(groups: Tensor, S: int, B: int, G: int, R: int, D: int) -> Tensor:
    """(B G, R S, D) -> a view (S, B, G, R, D)."""
    return groups.view(B, G, R, S, D).permute(3, 0, 1, 2, 4)
