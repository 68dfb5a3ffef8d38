"""Choosing the next token: greedy, or at a temperature from the smallest set of tokens that holds mass top_p.

Random numbers are a function of (seed of the prompt, number of the token), not a stream, so what a prompt yields does
not depend on the prompts beside it.

Shapes: R rows, N ids that may come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Seeds = npt.NDArray[np.uint64]


def choose(logits_RN: Tensor, temperature: float, top_p: float, uniform_R: npt.NDArray[np.float64]) -> Tensor:
    """Index (R,) of the chosen id in each row: the greatest at temperature 0, else drawn by inverting the CDF.

    Args:
        logits_RN: scores, fp32.
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1]; 1 keeps all ids.
        uniform_R: one number in [0, 1) for each row.
    """
    if temperature == 0:
        return logits_RN.argmax(-1)
    probabilities = torch.softmax(logits_RN.double() / temperature, -1)
    order = None
    if top_p < 1:
        probabilities, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    mass = probabilities.cumsum(-1)
    target = torch.from_numpy(uniform_R).to(mass.device)[:, None] * mass[:, -1:]
    index = torch.searchsorted(mass, target, right=True).clamp_(max=mass.shape[-1] - 1)
    chosen = index if order is None else order.gather(-1, index)
    return chosen[:, 0]


def uniform(seeds: Seeds, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each (seed, step): SplitMix64 of both."""
    with np.errstate(over="ignore"):
        state = _mix(seeds) + _mix(steps.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_of(*parts: str | int) -> int:
    """A 64-bit seed from names and numbers, the same on every machine."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "little")


def prompt_seeds(prompts: Sequence[npt.NDArray[np.integer]]) -> Seeds:
    """A seed for each prompt from its tokens alone."""
    digests = [hashlib.sha256(np.asarray(prompt, dtype=np.int32).tobytes()).digest()[:8] for prompt in prompts]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
