"""Laws of the quantiser: nearest codes, padding without influence, dead codes restarted, gradients passed on."""

from __future__ import annotations

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from tokenizer.config import QuantiserConfig
from tokenizer.quantiser import Quantiser


def make(frames: torch.Tensor | None = None, **options: object) -> Quantiser:
    torch.manual_seed(0)
    quantiser = Quantiser(QuantiserConfig(**({"codebook_size": 16} | options)), width=8, frames_per_batch=60)
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


def two_ranks(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    quantiser = make(torch.randn(200, 8, generator=torch.Generator().manual_seed(rank))).train()
    hidden_BTD = torch.randn(6, 30, 8, generator=torch.Generator().manual_seed(10 + rank))
    for _ in range(5):
        quantiser(hidden_BTD, torch.arange(30) < (30 if rank else 11) * torch.ones(6, 1))
    torch.save(quantiser.codebook, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_ranks_share_one_codebook(tmp_path: object) -> None:
    torch.multiprocessing.start_processes(two_ranks, (str(tmp_path),), nprocs=2, start_method="fork")
    first, second = (torch.load(f"{tmp_path}/{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first, second)
