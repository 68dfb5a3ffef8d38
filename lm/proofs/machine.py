"""Parts of a machine: versions, processor, GPUs, NCCL, Transformer Engine, Apex, FP8, options for speed.

A part that is installed and does not work is a failure; one that is not there is none.
"""

from __future__ import annotations

import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import torch
from packaging.requirements import Requirement

from lm.training.hardware import FP8_CAPABILITIES, GIB, GRADIENT_KERNEL, Hardware, fuses_gradients, runs_recipe
from lm.training.loop_config import LoopConfig
from lm.training.parallel import ParallelConfig

from .finding import ABSENT, FAILED, THERE, Finding

SHOWN = ("torch", "megatron-core", "transformers", "nemo-toolkit")
DRIVER = Path("/proc/driver/nvidia/version")


def versions() -> Finding:
    """Versions of what training stands on; a requirement that is not met is a failure."""
    wanted = (Requirement(line) for line in requires("speechweave") or [])
    unmet = []
    for each in wanted:
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            found = _version(each.name)
            if found is None or not each.specifier.contains(found, prereleases=True):
                unmet.append(f"{each} (found {found or 'none'})")
    shown = ", ".join(f"{name} {_version(name)}" for name in SHOWN)
    if unmet:
        return Finding(status=FAILED, detail=f"not as pyproject.toml asks: {'; '.join(unmet)}")
    return Finding(status=THERE, detail=f"Python {platform.python_version()}, {shown}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> Finding:
    """Cores and memory that this process may use, and whether products in bf16 are fast."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fast = {
        "AVX512-BF16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
    }
    bf16 = " and ".join(name for name, is_there in fast.items() if is_there)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    words = f"bf16 by {bf16}" if bf16 else "no instructions for bf16 (train.precision=auto is fp32)"
    return Finding(status=THERE, detail=f"{platform.machine()}, {cores} cores, {memory:.1f} GiB, {words}")


def gpus() -> Finding:
    """CUDA devices, driver and NCCL; a driver that torch cannot use is a failure."""
    hardware = Hardware.here()
    if not hardware.gpus:
        if DRIVER.exists():
            built = f"torch {torch.__version__} is built for {torch.version.cuda or 'no CUDA'}"
            return Finding(status=FAILED, detail=f"an NVIDIA driver is loaded, but torch sees no device: {built}")
        return Finding(status=ABSENT, detail="no CUDA device", facts={"gpus": 0})
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    detail = f"{hardware.gpus} x {hardware}, CUDA {torch.version.cuda}, NCCL {nccl}"
    return Finding(status=THERE, detail=detail, facts={"gpus": hardware.gpus, "gibibytes": hardware.bytes / GIB})


def transformer_engine() -> Finding:
    """Transformer Engine: installed and importable."""
    if find_spec("transformer_engine") is None:
        return Finding(status=ABSENT, detail="not installed: local layers are used")
    importlib.import_module("transformer_engine.pytorch")
    return Finding(status=THERE, detail=f"transformer_engine {_version('transformer-engine') or 'of unknown version'}")


def apex() -> Finding:
    """NVIDIA's Apex, by the compiled kernel that training uses: the project of that name on PyPI is another one."""
    if find_spec("apex") is None:
        return Finding(status=ABSENT, detail="not installed: weight gradients are added after their products")
    if find_spec(GRADIENT_KERNEL) is None:
        detail = f"a package of that name without {GRADIENT_KERNEL}: remove it, or build NVIDIA's (docs/install.md)"
        return Finding(status=FAILED, detail=detail)
    importlib.import_module(GRADIENT_KERNEL)
    return Finding(status=THERE, detail="gradient accumulation")


def speed_options() -> Finding:
    """Options for speed: those that are ``auto``, as resolved on this machine, and those that can be set."""
    hardware = Hardware.here()
    fused = [name for name in ("fp32", "bf16") if fuses_gradients(LoopConfig(), hardware, name)]
    overlaps = ParallelConfig().overlaps_gradients(on_gpu=hardware.gpus > 0)
    can = "can be set" if hardware.has_engine else "needs Transformer Engine"
    words = [
        f"AdamW torch's fused one, gradient_fusion in {' and '.join(fused) or 'no precision'}",
        f"overlap_grad_reduce {'on' if overlaps else 'off'}, overlap_param_gather can be set, overlap_tensor {can}",
    ]
    return Finding(status=THERE, detail=", ".join(words))


def fp8() -> Finding:
    """Scaling recipes of FP8 that the device and Transformer Engine run."""
    hardware = Hardware.here()
    recipes = [name for name in FP8_CAPABILITIES if runs_recipe(name, hardware.capability)]
    if not hardware.has_engine or not recipes:
        why = "no Transformer Engine with a CUDA device" if not hardware.has_engine else f"{hardware} has no FP8"
        return Finding(status=ABSENT, detail=why)
    return Finding(status=THERE, detail=", ".join(recipes), facts=dict.fromkeys(recipes, 1))
