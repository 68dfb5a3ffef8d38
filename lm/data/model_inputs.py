"""Inputs of the model in one process: its part of the sequences of a micro batch, and the attention mask.

Documents packed into one sequence do not see each other. Local layers get a block-diagonal causal mask made on the
device from document numbers; Transformer Engine gets one long sequence and the places where documents begin. Rotary
positions are relative, so they need no restart.

Shapes: B batch, S tokens of a sequence, C context parallel size, P = S / C tokens of this process, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from megatron.core import parallel_state
from megatron.core.packed_seq_params import PackedSeqParams
from torch import Tensor

POSITION_BITS = 32  # of an entry of `ClipBatch.places`


class ClipBatch(NamedTuple):
    """Speech of a micro batch that is read as vectors.

    Attributes:
        frames: (clips, frames, values of a frame) or (clips, codes), padded.
        lengths: (clips,) frames of each.
        places: as the tokens, (B, P): clip << POSITION_BITS | position within it; -1: the token's own embedding.
    """

    frames: Tensor
    lengths: Tensor
    places: Tensor


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """Arguments of the model's forward, and what the loss needs.

    Attributes:
        tokens: (B, P) ids; packed: (1, B x S).
        positions: as ``tokens``; not used by rotary models but asked for.
        labels: as ``tokens``.
        loss_mask: as ``tokens``, float.
        is_speech: as ``tokens``, bool: which labels are speech.
        attention_mask: (B, 1, P, S), or None for plain causal attention.
        packed: where documents begin, for packed attention.
        clips: of a model that reads speech as vectors, on its first stage.
    """

    tokens: Tensor
    positions: Tensor
    labels: Tensor
    loss_mask: Tensor
    is_speech: Tensor
    attention_mask: Tensor | None = None
    packed: PackedSeqParams | None = None
    clips: ClipBatch | None = None


def model_inputs(
    batch: dict[str, Tensor], *, reset_attention: bool, has_engine: bool, dtype: torch.dtype
) -> ModelInputs:
    """Turn a micro batch (on the device) into the model's inputs.

    Args:
        batch: (B, S) tensors ``tokens``, ``labels``, ``loss_mask``, ``is_speech``, ``documents``; with clips those of
            `lm.data.clip_batches.ClipCollation`.
        reset_attention: keep documents apart.
        has_engine: for Transformer Engine's attention, which takes document boundaries and needs no mask.
        dtype: of an additive mask.
    """
    columns = {
        name: batch[name] for name in ("tokens", "labels", "loss_mask", "is_speech", "clip_places") if name in batch
    }
    size = parallel_state.get_context_parallel_world_size()
    mask, packed = None, None
    if has_engine and reset_attention:
        packed = packed_documents(batch["documents"])
        columns = {name: tensor.reshape(1, -1) for name, tensor in columns.items()}
    elif not has_engine and (reset_attention or size > 1):
        documents = batch["documents"] if reset_attention else torch.zeros_like(batch["documents"])
        mask = document_mask(documents, parallel_state.get_context_parallel_rank(), size, dtype)
    if size > 1:
        order = local_positions(columns["tokens"].size(1), parallel_state.get_context_parallel_rank(), size)
        columns = {name: tensor[:, order.to(tensor.device)] for name, tensor in columns.items()}
    positions = torch.arange(columns["tokens"].size(1), device=columns["tokens"].device).expand_as(columns["tokens"])
    places = columns.pop("clip_places", None)
    clips = None if places is None else ClipBatch(batch["clips"], batch["clip_lengths"], places)
    return ModelInputs(positions=positions, attention_mask=mask, packed=packed, clips=clips, **columns)


def document_mask(documents: Tensor, rank: int, size: int, dtype: torch.dtype) -> Tensor:
    """The additive mask (B, 1, P, S): 0 where a token of this process may look, else -inf.

    Args:
        documents: (B, S) document numbers.
        rank: this process among those that share the sequence.
        size: C, how many share it; columns are in the order in which they gather keys.
        dtype: of the mask.
    """
    order = torch.cat([local_positions(documents.size(1), other, size) for other in range(size)]).to(documents.device)
    rows = local_positions(documents.size(1), rank, size).to(documents.device)
    is_past = rows[:, None] >= order[None, :]
    is_same = documents[:, rows, None] == documents[:, None, order]
    mask = torch.zeros(is_same.shape, dtype=dtype, device=documents.device)
    return mask.masked_fill_(~(is_same & is_past), float("-inf"))[:, None]


def local_positions(length: int, rank: int, size: int) -> Tensor:
    """The positions of a sequence that process ``rank`` holds: chunks rank and 2C - 1 - rank of 2C (equal work)."""
    if size == 1:
        return torch.arange(length)
    chunks = torch.arange(length).chunk(2 * size)
    return torch.cat([chunks[rank], chunks[2 * size - 1 - rank]])


def packed_documents(documents: Tensor) -> PackedSeqParams:
    """Boundaries (D + 1,) of the documents of (B, S) numbers, laid end to end; a sequence's end is a boundary."""
    starts = torch.ones_like(documents, dtype=torch.bool)
    starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    begins = starts.flatten().nonzero().flatten().to(torch.int32)
    ends = torch.tensor([documents.numel()], dtype=torch.int32, device=documents.device)
    boundaries = torch.cat([begins, ends])
    longest = int(boundaries.diff().max())
    return PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=boundaries,
        cu_seqlens_kv=boundaries,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
    )
