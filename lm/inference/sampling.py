"""Choosing the next token: greedy, or at a temperature from the smallest set of tokens that holds mass top_p.

Random numbers are a function of (seed of the prompt, number of the token), not a stream, so what a prompt yields does
not depend on the prompts generated with it.

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
        top_p: nucleus mass in (0, 1]; 1 keeps all ids. Ids as probable as the last one inside are kept too.
        uniform_R: one number in [0, 1) for each row.
    """
    if temperature == 0:
        return logits_RN.argmax(-1)
    probabilities = torch.softmax(logits_RN.double() / temperature, -1)
    if top_p < 1:
        ranked = _sorted_descending(probabilities)
        size = (ranked.cumsum(-1) - ranked < top_p).sum(-1, keepdim=True)  # of the nucleus
        probabilities = probabilities.masked_fill(probabilities < ranked.gather(-1, size - 1), 0.0)
    mass = probabilities.cumsum(-1)
    target = torch.from_numpy(uniform_R).to(mass.device)[:, None] * mass[:, -1:]
    return torch.searchsorted(mass, target, right=True).clamp_(max=mass.shape[-1] - 1)[:, 0]


def _sorted_descending(values_RN: Tensor) -> Tensor:
    if values_RN.device.type == "cpu":  # numpy's vectorised sort takes a thirtieth of torch's time
        return torch.from_numpy(-np.sort(-values_RN.numpy(), axis=-1))
    return values_RN.sort(-1, descending=True).values


def uniform(seeds: Seeds, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each (seed, step): SplitMix64 of both."""
    with np.errstate(over="ignore"):
        state = _mix(seeds) + _mix(steps.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def prompt_seeds(prompts: Sequence[npt.NDArray[np.integer]]) -> Seeds:
    """A seed for each prompt from its tokens alone."""
    digests = [hashlib.sha256(np.asarray(prompt, dtype=np.int32).tobytes()).digest()[:8] for prompt in prompts]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
