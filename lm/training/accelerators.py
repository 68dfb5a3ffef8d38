"""Accelerators: dense bf16 peak and memory. No torch here, so that planning needs none."""

from __future__ import annotations

from typing import NamedTuple


class Accelerator(NamedTuple):
    """One kind.

    Attributes:
        tflops: dense bf16 peak in TFLOP/s, as its maker gives it.
        gibibytes: memory that a process can have, in GiB.
    """

    tflops: float
    gibibytes: float


# By a part of the device's name; the first that matches counts.
ACCELERATORS = {
    "H100 PCIe": Accelerator(756.0, 79.1),
    "H100": Accelerator(989.0, 79.1),
    "H200": Accelerator(989.0, 139.8),
    "H800": Accelerator(989.0, 79.1),
    "A100": Accelerator(312.0, 79.1),
    "B200": Accelerator(2250.0, 178.0),
}
