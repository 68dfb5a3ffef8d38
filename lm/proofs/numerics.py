"""Numbers of the layers on this device: rotary positions, packed documents, Transformer Engine against local layers.

Errors are root mean squares, as a share of the exact values'. Exact are fp32 local layers, each document by itself.

Shapes: S tokens of a sequence, B batch, H heads, D width of a head, N tokens of all documents, V ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lm.data.model_inputs import document_boundaries, model_inputs
from lm.training.model import DTYPES, build_model, transformer_config
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from lm.training.processes import Processes, open_processes
from lm.training.rotary import RotaryTable, turn
from lm.training.spec import has_transformer_engine

from .finding import ABSENT, Finding

ROTARY_STYLES = {
    "halves": LmModelConfig(hidden=192, heads=3, kv_heads=3),
    "part of a head": LmModelConfig(hidden=192, heads=3, kv_heads=3, rope_share=0.5),
    "neighbours": LmModelConfig(hidden=192, heads=3, kv_heads=3, rope_interleaved=True, rope_share=0.5, rope_base=1e6),
    "slowed": LmModelConfig(hidden=192, heads=3, kv_heads=3, rope_scaling=8.0, rope_base=5e5),
}
POSITIONS = 512
ROTARY_LIMIT = 1e-4  # fp32 angles up to 512 are exact to 3e-5
# Weights ten times as large as a training's first ones, so that attention differs from a mean over all tokens.
MODEL = LmModelConfig(layers=2, hidden=128, heads=4, kv_heads=2, ffn=256, init_std=0.2)
IDS, LENGTH = 512, 128
DOCUMENTS = ((40, 7, 81), (128,), (1, 64, 63))  # lengths, of each sequence
FP32_LIMIT = 1e-4
ROUNDING = 2.0  # packed bf16 may be this much farther from exact than bf16 of each document by itself


def rotary_positions() -> Finding:
    """Turned queries and their gradients against complex numbers in fp64, in each style."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    positions_BS = torch.randint(0, POSITIONS, (2, 64), generator=generator)
    largest = 0.0
    for model in ROTARY_STYLES.values():
        shape = (64, 2, model.heads, model.head_width)
        heads, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
        mine, exact = heads.to(device).requires_grad_(), heads.double().requires_grad_()
        table = RotaryTable(model)
        turned = turn(mine, table(positions_BS.to(device), torch.float32), is_interleaved=model.rope_interleaved)
        wanted = _turn_exactly(exact, positions_BS, table.frequencies.double().cpu(), model.rope_interleaved)
        pairs = [(turned, wanted)]
        pairs.append((torch.autograd.grad(turned, mine, gradient.to(device))[0],
                      torch.autograd.grad(wanted, exact, gradient.double())[0]))  # fmt: skip
        largest = max([largest, *(_error(one.detach().double().cpu(), other.detach()) for one, other in pairs)])
    detail = f"{len(ROTARY_STYLES)} styles, forward and backward: error {largest:.1e} (limit {ROTARY_LIMIT:.0e})"
    return Finding.of(largest <= ROTARY_LIMIT, detail)


def _turn_exactly(heads: Tensor, positions_BS: Tensor, frequencies: Tensor, is_interleaved: bool) -> Tensor:
    """Heads (S, B, H, D) in fp64: pairs of columns are complex numbers, multiplied by e^(i angle)."""
    half = len(frequencies)
    first, rest = heads[..., : 2 * half], heads[..., 2 * half :]
    pairs = first.unflatten(-1, (half, 2)) if is_interleaved else first.unflatten(-1, (2, half)).transpose(-1, -2)
    angles = positions_BS.t()[..., None, None].double() * frequencies
    turned = torch.view_as_real(
        torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angles), angles)
    )
    columns = turned.flatten(-2) if is_interleaved else turned.transpose(-1, -2).flatten(-2)
    return torch.cat([columns, rest], -1)


def packed_attention() -> Finding:
    """Local layers: documents packed by their boundaries, and kept apart by a mask, against each by itself."""
    with open_processes(ParallelConfig()) as processes:
        errors, limit = _compare(processes, uses_engine=False)
    return _judge(errors, limit)


def engine_logits() -> Finding:
    """Transformer Engine's layers: packed documents and each by itself, against local layers."""
    if not has_transformer_engine():
        return Finding(status=ABSENT, detail="no Transformer Engine with a CUDA device")
    with open_processes(ParallelConfig()) as processes:
        errors, limit = _compare(processes, uses_engine=True)
    return _judge(errors, limit)


def _judge(errors: dict[str, float], limit: float) -> Finding:
    words = ", ".join(f"{form} {error:.1e}" for form, error in errors.items())
    return Finding.of(max(errors.values()) <= limit, f"error of logits: {words} (limit {limit:.1e})")


def _compare(processes: Processes, *, uses_engine: bool) -> tuple[dict[str, float], float]:
    """The errors of each form of packing, and their limit: rounding of the precision that the device trains in."""
    exact = _logits(processes, "alone", precision="fp32")
    forms = ("alone", "packed") if uses_engine else ("packed", "masked")
    if processes.device.type == "cpu":
        return {form: _error(_logits(processes, form, precision="fp32"), exact) for form in forms}, FP32_LIMIT
    limit = ROUNDING * _error(_logits(processes, "alone", precision="bf16"), exact)
    found = {form: _logits(processes, form, precision="bf16", uses_engine=uses_engine) for form in forms}
    return {form: _error(logits, exact) for form, logits in found.items()}, limit


@torch.no_grad()
def _logits(processes: Processes, form: str, *, precision: str, uses_engine: bool = False) -> Tensor:
    """The logits (N, V) of all documents in fp64, on the host, by a model of the same weights each time."""
    config = transformer_config(MODEL, ParallelConfig(), precision=precision, uses_engine=uses_engine)
    (chunk,) = build_model(MODEL, config, vocabulary_size=IDS, sequence_length=LENGTH, seed=1)
    chunk.eval()
    tokens_BS = torch.randint(0, IDS, (len(DOCUMENTS), LENGTH), generator=torch.Generator().manual_seed(0))
    if form == "alone":
        parts = tokens_BS.flatten().split([length for lengths in DOCUMENTS for length in lengths])
        rows = [
            chunk(part[None].to(processes.device), torch.arange(len(part), device=processes.device)[None], None)[0]
            for part in parts
        ]
        return torch.cat(rows).double().cpu()
    numbers_BS = torch.stack(
        [torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)) for lengths in DOCUMENTS]
    ).int()
    batch = dict.fromkeys(("tokens", "labels", "loss_mask", "is_speech"), tokens_BS)
    batch |= {"documents": numbers_BS, "boundaries": torch.from_numpy(document_boundaries(numbers_BS.numpy()))}
    inputs = model_inputs(
        {name: tensor.to(processes.device) for name, tensor in batch.items()},
        reset_attention=True,
        is_packed=form == "packed",
        needs_mask=form == "masked",
        dtype=DTYPES[precision],
    )
    logits = chunk(inputs.tokens, inputs.positions, inputs.attention_mask, packed_seq_params=inputs.packed)
    return logits.flatten(0, 1).double().cpu()


def _error(found: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference, as a share of the exact values'."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())
