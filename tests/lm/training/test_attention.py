"""Own norm, feed-forward and attention equal torch's; documents packed together do not see each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lm.data.model_inputs import (
    document_boundaries,
    document_mask,
    local_positions,
    packed_documents,
    positions_in_documents,
)

S, B, H, G, D = 24, 3, 4, 2, 8


def attention(monkeypatch: pytest.MonkeyPatch | None = None) -> Any:
    from megatron.core.transformer.enums import AttnMaskType

    from lm.training.attention import CausalAttention

    config = SimpleNamespace(kv_channels=D, attention_dropout=0.0)
    group = SimpleNamespace(size=lambda: 1)
    return CausalAttention(config, 1, AttnMaskType.causal, "self", pg_collection=SimpleNamespace(cp=group))


def documents() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 5, (B, S), generator=generator).eq(0).int().cumsum(1)


def inputs(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(S, B, H, D), (S, B, G, D), (S, B, G, D)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def results(output: torch.Tensor, given: list[torch.Tensor]) -> list[torch.Tensor]:
    weight = torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
    return [output, *torch.autograd.grad((output * weight).sum(), given)]


def fused(given: list[torch.Tensor], mask: torch.Tensor | None) -> torch.Tensor:
    """torch's own attention, (S, B, H D)."""
    query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in given)
    context = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )  # fmt: skip
    return context.permute(2, 0, 1, 3).reshape(S, B, H * D)


@pytest.mark.parametrize("has_mask", [True, False])
@pytest.mark.parametrize("block", [5, 24])
def test_blocks_of_queries_equal_the_fused_kernel(has_mask: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm.training import attention as module

    monkeypatch.setattr(module, "QUERY_BLOCK", block)
    mask = document_mask(documents(), 0, 1, torch.float32) if has_mask else None
    given = inputs()
    assert attention()._are_blocks_faster(given[0], given[1], mask)
    for one, other in zip(results(attention()(*given, mask), given), results(fused(given, mask), given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bf16_stays_close() -> None:
    mask = document_mask(documents(), 0, 1, torch.bfloat16)
    exact = attention()(*inputs(), mask.float())
    torch.testing.assert_close(attention()(*inputs(torch.bfloat16), mask).float(), exact, rtol=0.05, atol=0.05)


def test_swiglu_equals_torch() -> None:
    from lm.training.swiglu import swiglu

    both = torch.randn(7, 2, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gate, up = both.chunk(2, -1)
    for one, other in zip(results(swiglu(both), [both]), results(F.silu(gate) * up, [both]), strict=True):
        torch.testing.assert_close(one, other)


def one_after_the_other(given: list[torch.Tensor], boundaries: torch.Tensor) -> torch.Tensor:
    """Attention within each document by itself: (N, H, D) and (N, G, D) to (N, H, D)."""
    parts = [tensor.split(boundaries.diff().tolist()) for tensor in given]
    done = []
    for query, key, value in zip(*parts, strict=True):
        heads = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
        done.append(F.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)[0].transpose(0, 1))
    return torch.cat(done)


def test_packed_documents_equal_each_by_itself_and_the_mask() -> None:
    """Boundaries (thd, as Transformer Engine takes them) and the block-diagonal mask say the same."""
    given, numbers = inputs(), documents()
    boundaries = torch.from_numpy(document_boundaries(numbers.numpy()))
    assert len(boundaries) > B + 3 and boundaries[-1] == B * S
    flat = [tensor.detach().transpose(0, 1).flatten(0, 1).requires_grad_() for tensor in given]  # (B S, heads, D)
    packed = results(attention()(*flat, None, packed_seq_params=packed_documents(boundaries, S)), flat)
    for one, other in zip(packed, results(one_after_the_other(flat, boundaries), flat), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    masked = attention()(*given, document_mask(numbers, 0, 1, torch.float32))  # (S, B, H D)
    torch.testing.assert_close(packed[0].view(B, S, H * D).transpose(0, 1), masked, rtol=1e-4, atol=1e-5)


def test_positions_begin_anew_in_each_document() -> None:
    numbers = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, -1]], dtype=torch.int32)
    boundaries = torch.from_numpy(document_boundaries(numbers.numpy()))
    assert boundaries.tolist() == [0, 3, 5, 6, 9, 10]
    assert positions_in_documents(boundaries, 10).tolist() == [0, 1, 2, 0, 1, 0, 0, 1, 2, 0]


def test_a_document_does_not_see_the_others() -> None:
    numbers = documents()
    mask = document_mask(numbers, 0, 1, torch.float32)
    query, key, value = (tensor.detach() for tensor in inputs())
    before = attention()(query, key, value, mask)
    is_other = (numbers != 1).T  # (S, B)
    changed = torch.where(is_other[..., None, None], value + 1, value)
    after = attention()(query, key, changed, mask)
    assert torch.equal(before[~is_other], after[~is_other])
    assert not torch.equal(before, after)


def test_context_parallel_parts_cover_the_mask() -> None:
    numbers = documents()
    whole = document_mask(numbers, 0, 1, torch.float32)
    order = torch.cat([local_positions(S, rank, 2) for rank in range(2)])
    assert sorted(order.tolist()) == list(range(S))
    for rank in range(2):
        part = document_mask(numbers, rank, 2, torch.float32)
        assert torch.equal(part, whole[:, :, local_positions(S, rank, 2)][..., order])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_equals_torch(dtype: torch.dtype) -> None:
    from lm.training.norm import RMSNorm

    norm = RMSNorm(SimpleNamespace(params_dtype=dtype, sequence_parallel=True), 16, eps=1e-5)
    assert norm.weight.sequence_parallel
    hidden = torch.randn(7, 2, 16, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    with torch.no_grad():
        norm.weight += torch.linspace(-0.5, 0.5, 16).to(dtype)
    ours = results(norm(hidden), [hidden, norm.weight])
    theirs = results(F.rms_norm(hidden, (16,), norm.weight, 1e-5), [hidden, norm.weight])
    tolerance = {} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.1}
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **tolerance)
