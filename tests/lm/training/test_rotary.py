"""Rotary positions are megatron-core's to the bit, forward and backward, in every style."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from megatron.core.models.common.embeddings.rope_utils import apply_rotary_pos_emb
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding

from lm.data.model_inputs import document_boundaries, positions_in_documents
from lm.training.model_config import LmModelConfig
from lm.training.rotary import RotaryTable, turn

S, B, H = 19, 2, 3
STYLES = {
    "halves": {},
    "halves, part of a head": {"rope_share": 0.5},
    "neighbours": {"rope_interleaved": True},
    "neighbours, part of a head": {"rope_interleaved": True, "rope_share": 0.5, "rope_base": 1e6},
    "slowed": {"rope_scaling": 8.0, "rope_base": 5e5},
}
GROUP = SimpleNamespace(size=lambda: 1, rank=lambda: 0)  # of one process; megatron-core asks no more of it


def megatron(model: LmModelConfig, heads: torch.Tensor, boundaries: torch.Tensor | None) -> torch.Tensor:
    """megatron-core's own turning, of sequences (S, B, H, D) or of packed documents (N, H, D)."""
    made = RotaryEmbedding(
        model.head_width,
        model.rope_share,
        rotary_interleaved=model.rope_interleaved,
        rotary_base=model.rope_base,
        rope_scaling=model.rope_scaling != 1.0,
        rope_scaling_factor=model.rope_scaling,
        use_cpu_initialization=True,
        cp_group=GROUP,
    )
    made.forward = RotaryEmbedding.forward.__wrapped__.__get__(made)  # without its cache
    length = heads.size(0) if boundaries is None else int(boundaries.diff().max())
    angles = made.get_freqs_non_repeated(length)
    angles = torch.stack([angles, angles], -1).flatten(1) if model.rope_interleaved else torch.cat([angles] * 2, -1)
    config = SimpleNamespace(
        apply_rope_fusion=False, rotary_interleaved=model.rope_interleaved, multi_latent_attention=False
    )
    return apply_rotary_pos_emb(heads, angles[:, None, None], config, boundaries, cp_group=GROUP)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_packed", [False, True], ids=["sequences", "packed"])
@pytest.mark.parametrize("style", STYLES)
def test_equals_megatron_core_to_the_bit(style: str, is_packed: bool, dtype: torch.dtype) -> None:
    model = LmModelConfig(**{"hidden": 48, "heads": H, "kv_heads": H, **STYLES[style]})
    generator = torch.Generator().manual_seed(0)
    shape = (S * B, 1, H, model.head_width) if is_packed else (S, B, H, model.head_width)
    heads, gradient = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    heads.requires_grad_()
    documents = torch.randint(0, 5, (B, S), generator=generator).eq(0).int().cumsum(1)
    boundaries = torch.from_numpy(document_boundaries(documents.numpy())) if is_packed else None
    positions = torch.arange(S) if boundaries is None else positions_in_documents(boundaries, S * B)
    ours = turn(heads, RotaryTable(model)(positions[None], dtype), is_interleaved=model.rope_interleaved)
    theirs = megatron(model, heads[:, 0] if is_packed else heads, boundaries).view(shape)
    assert torch.equal(ours, theirs) and not torch.equal(ours, heads)
    assert torch.equal(*(torch.autograd.grad(turned, heads, gradient)[0] for turned in (ours, theirs)))
