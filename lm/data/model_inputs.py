"""Inputs of the model in one process: its part of the sequences of a micro batch, and the attention mask.

Documents packed into one sequence do not see each other. Attention that takes boundaries (Transformer Engine's, torch's
for documents of any length) gets one long sequence and the places where documents begin; other attention gets a
block-diagonal causal mask made on the device from document numbers. Nothing here reads a tensor of the device.

Shapes: B batch, S tokens of a sequence, C context parallel size, P = S / C tokens of this process, D documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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
        positions: (1, P), in the sequence; packed: (1, B x S), in the document (rotary positions are relative, so both
            give the same).
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
    batch: dict[str, Tensor], *, reset_attention: bool, is_packed: bool, needs_mask: bool, dtype: torch.dtype
) -> ModelInputs:
    """Turn a micro batch (on the device) into the model's inputs.

    Args:
        batch: (B, S) tensors ``tokens``, ``labels``, ``loss_mask``, ``is_speech``, ``documents``, and ``boundaries``;
            with clips those of `lm.data.clip_batches.ClipCollation`. Others have no part in it.
        reset_attention: keep documents apart.
        is_packed: for attention that takes boundaries and needs no mask, where documents are kept apart.
        needs_mask: for attention that keeps documents apart, and knows context parallel positions, by a mask only.
        dtype: of the mask, which is added to scores.
    """
    columns = {
        name: batch[name] for name in ("tokens", "labels", "loss_mask", "is_speech", "clip_places") if name in batch
    }
    size, rank = parallel_state.get_context_parallel_world_size(), parallel_state.get_context_parallel_rank()
    num_sequences, length = batch["tokens"].shape
    order = local_positions(length, rank, size, batch["tokens"].device)
    mask, packed, positions = None, None, order
    if is_packed:
        packed = packed_documents(batch["boundaries"], length)
        positions = positions_in_documents(batch["boundaries"], num_sequences * length)
        columns = {name: tensor.reshape(1, -1) for name, tensor in columns.items()}
    elif needs_mask and (reset_attention or size > 1):
        documents = batch["documents"] if reset_attention else torch.zeros_like(batch["documents"])
        mask = document_mask(documents, rank, size, dtype)
    if size > 1:
        columns = {name: tensor[:, order] for name, tensor in columns.items()}
    places = columns.pop("clip_places", None)
    clips = None if places is None else ClipBatch(batch["clips"], batch["clip_lengths"], places)
    return ModelInputs(positions=positions[None], attention_mask=mask, packed=packed, clips=clips, **columns)


def transcript_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The micro batch as the model reads it: the transcripts in place of the speech, with the same targets."""
    read = {name: batch[f"transcript_{name}"] for name in ("tokens", "documents", "boundaries")}
    return read | {name: batch[name] for name in ("labels", "loss_mask", "is_speech")}


def document_mask(documents: Tensor, rank: int, size: int, dtype: torch.dtype) -> Tensor:
    """The additive mask (B, 1, P, S): 0 where a token of this process may look, else -inf.

    Args:
        documents: (B, S) document numbers.
        rank: this process among those that share the sequence.
        size: C, how many share it; columns are in the order in which they gather keys.
        dtype: of the mask.
    """
    length, device = documents.size(1), documents.device
    order = torch.cat([local_positions(length, other, size, device) for other in range(size)])
    rows = local_positions(length, rank, size, device)
    is_past = rows[:, None] >= order[None, :]
    is_same = documents[:, rows, None] == documents[:, None, order]
    mask = torch.zeros(is_same.shape, dtype=dtype, device=documents.device)
    return mask.masked_fill_(~(is_same & is_past), float("-inf"))[:, None]


def local_positions(length: int, rank: int, size: int, device: torch.device | None = None) -> Tensor:
    """The positions of a sequence that process ``rank`` holds: chunks rank and 2C - 1 - rank of 2C (equal work)."""
    whole = torch.arange(length, device=device)
    if size == 1:
        return whole
    chunks = whole.chunk(2 * size)
    return torch.cat([chunks[rank], chunks[2 * size - 1 - rank]])


def document_boundaries(documents: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Boundaries (D + 1,) of the documents of (B, S) numbers, laid end to end; a sequence's end is a boundary."""
    is_first = np.ones(documents.shape, dtype=bool)
    is_first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return np.append(np.flatnonzero(is_first), documents.size).astype(np.int32)


def packed_documents(boundaries: Tensor, longest: int) -> PackedSeqParams:
    """Parameters of attention for documents with these boundaries (D + 1,), none longer than ``longest``."""
    return PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=boundaries,
        cu_seqlens_kv=boundaries,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
    )


def positions_in_documents(boundaries: Tensor, num_tokens: int) -> Tensor:
    """The position (N,) of each token in its document, from boundaries (D + 1,)."""
    starts = boundaries[:-1].repeat_interleave(boundaries.diff(), output_size=num_tokens)
    return torch.arange(num_tokens, device=boundaries.device) - starts
