"""Laws of the quantiser: nearest codes, padding without influence, dead codes restarted, gradients passed on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from runtime.errors import UserError
from tokenizer.quantisers.base import Quantiser, make_quantiser
from tokenizer.quantisers.config import QuantiserConfig


def make(frames: torch.Tensor | None = None, **options: object) -> Quantiser:
    torch.manual_seed(0)
    quantiser = make_quantiser(QuantiserConfig(**({"codebook_size": 16} | options)), width=8, frames_per_batch=60)
    quantiser.start(torch.randn(400, 8) if frames is None else frames)
    return quantiser


def test_codes_are_the_nearest() -> None:
    quantiser = make()
    hidden_BTD = torch.randn(3, 20, 8)
    distance = torch.cdist(hidden_BTD, quantiser.codebook)
    assert torch.equal(quantiser.codes(hidden_BTD), distance.argmin(-1))
    trained = quantiser.train()(hidden_BTD, torch.ones(3, 20, dtype=torch.bool))
    assert torch.equal(trained.codes, distance.argmin(-1))
    nearest = distance.min(-1).values.square().mean() / 8
    assert trained.commitment.item() == pytest.approx(nearest.item(), rel=1e-4)


def test_padding_and_broken_frames_leave_no_trace() -> None:
    hidden_BTD = torch.randn(3, 20, 8)
    mask_BT = torch.arange(20) < torch.tensor([20, 7, 13])[:, None]
    results = []
    for filling in (0.0, 1e4, float("nan")):
        quantiser = make().train()
        output = quantiser(hidden_BTD.masked_fill(~mask_BT[..., None], filling), mask_BT)
        results.append((output.hidden, output.commitment, *quantiser.state_dict().values()))
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))
    assert float(results[0][0][~mask_BT].abs().sum()) == 0


def test_gradients_pass_straight_through() -> None:
    quantiser = make().train()
    hidden_BTD = torch.randn(2, 5, 8, requires_grad=True)
    weight_BTD = torch.randn(2, 5, 8)
    (quantiser(hidden_BTD, torch.ones(2, 5, dtype=torch.bool)).hidden * weight_BTD).sum().backward()
    assert torch.allclose(hidden_BTD.grad, weight_BTD)


@pytest.mark.parametrize(("share", "least"), [(0.1, 14), (0.0, 0)])
def test_dead_codes_are_restarted_from_frames(share: float, least: int) -> None:
    quantiser = make(restart_share=share, decay=0.9).train()
    mask = torch.ones(4, 15, dtype=torch.bool)
    for _ in range(60):  # the data have moved away from all codes but one or two
        quantiser(10 + torch.randn(4, 15, 8), mask)
    used = len(quantiser.codes(10 + torch.randn(40, 15, 8)).unique())
    assert used >= least if share else used < 8


def test_the_codebook_follows_the_frames() -> None:
    quantiser = make(decay=0.9).train()
    for _ in range(100):
        output = quantiser(3 + 0.1 * torch.randn(4, 15, 8), torch.ones(4, 15, dtype=torch.bool))
    assert output.commitment < 0.02


def test_bfloat16_input_is_quantised_in_float32() -> None:
    quantiser = make().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = quantiser(torch.randn(2, 5, 8).bfloat16(), torch.ones(2, 5, dtype=torch.bool))
    assert output.hidden.dtype == output.commitment.dtype == quantiser.codebook.dtype == torch.float32


def two_ranks(rank: int, folder: str, codebook_size: int) -> None:
    """Steps where rank 0 has fewer frames than rank 1, none at all, or both have none, while the data move away."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    frames_ND = torch.randn(200, 8, generator=torch.Generator().manual_seed(rank))
    quantiser = make(frames_ND, codebook_size=codebook_size, decay=0.5).train()
    torch.manual_seed(100 + rank)  # the ranks' own draws differ, as after batches of different size
    states, drawn = [], torch.Generator().manual_seed(10 + rank)
    for step, valid in enumerate([(11, 30), (0, 30), (0, 30), (0, 0), (3, 0), (30, 2)] * 3):
        hidden_BTD = 3 * (step % 4) + torch.randn(6, 30, 8, generator=drawn)
        before = quantiser.codebook.clone()
        output = quantiser(hidden_BTD, torch.arange(30) < valid[rank] * torch.ones(6, 1))
        assert bool(output.commitment.isfinite())
        restarted = (quantiser.use == 0.5 * quantiser.mean_use).nonzero().flatten()
        states.append({"restarted": restarted, "moved": (quantiser.codebook - before).abs().sum()})
        states[-1] |= {name: value.clone() for name, value in quantiser.state_dict().items()}
    torch.save(states, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("codebook_size", [16, 17, 509])
def test_ranks_share_codebook_counts_and_restarts_to_the_bit(tmp_path: object, codebook_size: int) -> None:
    """Also with a codebook that no rank count divides, and one of more codes than there are frames."""
    torch.multiprocessing.start_processes(two_ranks, (str(tmp_path), codebook_size), nprocs=2, start_method="fork")
    first, second = (torch.load(f"{tmp_path}/{rank}.pt", weights_only=True) for rank in (0, 1))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(bool(value.isfinite().all()) for value in one.values())
    assert sum(len(state["restarted"]) for state in first) > 5


@pytest.mark.parametrize("num_frames", [1, 3])
def test_fewer_frames_than_dead_codes_restart_what_they_can(num_frames: int) -> None:
    quantiser = make(codebook_size=64, decay=0.5).train()
    far_BTD = 50 + torch.randn(1, num_frames, 8)
    for _ in range(30):
        quantiser(far_BTD, torch.ones(1, num_frames, dtype=torch.bool))
    assert bool(quantiser.codebook.isfinite().all())
    assert quantiser(far_BTD, torch.ones(1, num_frames, dtype=torch.bool)).commitment < 1e-2  # of 2500 at the start


KINDS = {"fsq": {"kind": "fsq", "levels": [5, 4, 3], "codebook_size": 60}, "simvq": {"kind": "simvq"}}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_keep_the_contract(kind: str) -> None:
    """Codes in training and inference agree and stand for the vectors given; padding leaves no trace."""
    hidden_BTD = torch.randn(3, 20, 8)
    mask_BT = torch.arange(20) < torch.tensor([20, 7, 13])[:, None]
    results = []
    for filling in (0.0, float("nan")):
        quantiser = make(**KINDS[kind]).train()
        assert quantiser.is_ready and quantiser.codebook.shape == (quantiser.num_codes, 8)
        output = quantiser(hidden_BTD.masked_fill(~mask_BT[..., None], filling), mask_BT)
        assert torch.equal(quantiser.codes(hidden_BTD)[mask_BT], output.codes[mask_BT])
        vectors = quantiser.vectors(output.codes)
        assert torch.allclose(vectors[mask_BT], output.hidden[mask_BT], atol=1e-5)
        results.append((output.hidden, output.commitment, *quantiser.state_dict().values()))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert float(results[0][0][~mask_BT].abs().sum()) == 0
    empty = quantiser(hidden_BTD, torch.zeros_like(mask_BT))
    assert float(empty.hidden.abs().sum()) == float(empty.commitment) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_start_from_the_frames_and_learn(kind: str) -> None:
    frames_ND = 5 + torch.randn(400, 8) @ torch.diag(torch.tensor([3, 3, 3, 0.1, 0.1, 0.1, 0.1, 0.1]))
    quantiser = make(frames_ND, **KINDS[kind]).train()
    mask = torch.ones(4, 100, dtype=torch.bool)
    error = (quantiser(frames_ND.view(4, 100, 8), mask).hidden.flatten(0, 1) - frames_ND).square().sum(1).mean()
    assert error < 0.5 * frames_ND.var(0).sum()  # at once: so that training goes on where it was
    assert len(quantiser.codes(frames_ND).unique()) > (30 if kind == "fsq" else 12)
    optimizer = torch.optim.Adam(quantiser.parameters(), lr=0.02)
    hidden_BTD = 1.6 * frames_ND.view(4, 100, 8).requires_grad_()  # the data move
    hidden_BTD.retain_grad()
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        output = quantiser(hidden_BTD, mask)
        errors.append((output.hidden - hidden_BTD.detach()).square().sum(-1).mean())
        (errors[-1] + output.commitment).backward(retain_graph=True)
        optimizer.step()
    assert errors[-1] < 0.5 * errors[0] and hidden_BTD.grad.abs().sum() > 0
    assert quantiser.use.sum() == pytest.approx(60 + (400 - 60) * (1 - 0.99**61), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "pq"}, "option kind"),
        ({"levels": [8, 8]}, "vq.levels"),
        ({"kind": "fsq", "codebook_size": 100}, "vq.codebook_size"),
        ({"kind": "fsq", "codebook_size": 100, "levels": [5, 5, 5]}, "vq.codebook_size"),
        ({"kind": "fsq", "codebook_size": 8, "levels": [4, 2]}, "option levels"),
    ],
)
def test_a_wrong_quantiser_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        QuantiserConfig(**options)


@pytest.mark.parametrize("bits", range(2, 17))
def test_fsq_levels_of_a_power_of_two(bits: int) -> None:
    assert math.prod(QuantiserConfig(kind="fsq", codebook_size=2**bits).fsq_levels) == 2**bits
