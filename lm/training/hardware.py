"""Hardware of this process, and what of a run's options it cannot do: said before any process group opens."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import torch

from runtime.errors import UserError

from .loop_config import LoopConfig
from .model_config import LmModelConfig
from .parallel import ParallelConfig, data_parallel_size
from .spec import has_transformer_engine

GIB = 2**30
GRADIENT_KERNEL = "fused_weight_gradient_mlp_cuda"  # a module that Apex's build makes
BF16_FROM = (8, 0)  # Ampere
# Compute capabilities of Transformer Engine's scaling recipes: the first that runs, and the first that does not.
FP8_CAPABILITIES = {
    "delayed": ((8, 9), None),
    "tensorwise": ((8, 9), None),
    "blockwise": ((9, 0), None),
    "mxfp8": ((10, 0), (12, 0)),
}
FP8_MULTIPLES = {"mxfp8": 32}  # that rows and columns of a product must be of; of the others 16


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A machine as one process sees it.

    Attributes:
        gpus: CUDA devices of the machine.
        name: of the device.
        capability: its compute capability; (0, 0) without one.
        bytes: its memory.
        has_engine: whether Transformer Engine imports.
        has_gradient_kernel: whether Apex's kernel of gradient accumulation imports.
        local_processes: processes of this run on the machine.
    """

    gpus: int = 0
    name: str = "no CUDA device"
    capability: tuple[int, int] = (0, 0)
    bytes: int = 0
    has_engine: bool = False
    has_gradient_kernel: bool = False
    local_processes: int = 1

    @classmethod
    def here(cls) -> Hardware:
        """This machine."""
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if not torch.cuda.is_available():
            return cls(local_processes=processes)
        own = torch.cuda.get_device_properties(0)
        return cls(
            gpus=torch.cuda.device_count(),
            name=own.name,
            capability=(own.major, own.minor),
            bytes=own.total_memory,
            has_engine=has_transformer_engine(),
            has_gradient_kernel=has_gradient_kernel(),
            local_processes=processes,
        )

    def __str__(self) -> str:
        if not self.gpus:
            return self.name
        return f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]}, {self.bytes / GIB:.1f} GiB)"


def check_hardware(
    loop: LoopConfig,
    model: LmModelConfig,
    parallel: ParallelConfig,
    hardware: Hardware,
    *,
    processes: int,
    vocabulary_size: int,
) -> None:
    """Refuse options that the hardware cannot do, with the arithmetic and what would fit.

    Args:
        loop: layers, precision and FP8.
        model: the shape.
        parallel: a layout that `lm.training.parallel.check_layout` has let pass.
        hardware: of this process.
        processes: of the run.
        vocabulary_size: rows of the embedding.

    Raises:
        UserError: the first of them.
    """
    _check_engine(loop, parallel, hardware)
    _check_fusion(loop, hardware)
    if loop.fp8 != "none":
        _check_fp8(loop, model, parallel, hardware)
    if not hardware.gpus:
        return
    if loop.precision == "bf16" and hardware.capability < BF16_FROM:
        found = f"bf16 on {hardware}, which has no bf16 arithmetic"
        raise UserError("option train.precision", found=found, remedy="set it to fp32, or use Ampere or newer")
    if hardware.local_processes > hardware.gpus:
        found = f"{hardware.local_processes} processes on a machine of {hardware.gpus} GPUs: each takes one"
        raise UserError("torchrun --nproc-per-node", found=found, remedy=f"start {hardware.gpus} a machine")
    _check_memory(loop, model, parallel, hardware, data_parallel_size(parallel, processes), vocabulary_size)


def has_gradient_kernel() -> bool:
    """Whether Apex was built with the kernel that adds a weight gradient to an fp32 sum inside of its product."""
    try:
        importlib.import_module(GRADIENT_KERNEL)
    except ImportError:
        return False
    return True


def fuses_gradients(loop: LoopConfig, hardware: Hardware, precision: str) -> bool:
    """Whether weight gradients are added to their fp32 sum inside of the products that make them.

    Args:
        loop: ``gradient_fusion``.
        hardware: of this process.
        precision: of the weights, ``fp32`` or ``bf16``.
    """
    works = hardware.has_gradient_kernel if hardware.gpus else precision == "fp32"
    return works and loop.gradient_fusion != "never"


def _check_fusion(loop: LoopConfig, hardware: Hardware) -> None:
    if loop.gradient_fusion != "always" or (hardware.has_gradient_kernel and hardware.gpus):
        return
    if hardware.gpus:
        found = f"'always', but {GRADIENT_KERNEL} does not import: Apex is not there, or was built without it"
        remedy = "build NVIDIA's Apex with its CUDA kernels (docs/install.md), or set it to auto"
        raise UserError("option train.gradient_fusion", found=found, remedy=remedy)
    if loop.precision != "fp32":
        found = f"'always' with train.precision={loop.precision} on a CPU, which has no product of bf16 into fp32"
        raise UserError("option train.gradient_fusion", found=found, remedy="set it to auto, or train.precision=fp32")


def _check_engine(loop: LoopConfig, parallel: ParallelConfig, hardware: Hardware) -> None:
    if hardware.has_engine:
        return
    missing = "transformer_engine does not import" if hardware.gpus else "no CUDA device"
    remedy = "install speechweave[gpu] on a machine with a CUDA device, or set it to"
    if loop.layers == "transformer_engine":
        found = f"'transformer_engine', but {missing} here"
        raise UserError("option train.layers", found=found, remedy=f"{remedy} auto or local")
    if parallel.overlap_tensor:
        found = f"true, which Transformer Engine does, but {missing} here"
        raise UserError("option parallel.overlap_tensor", found=found, remedy=f"{remedy} false")
    if loop.fp8 != "none":
        found = f"{loop.fp8!r}, which needs Transformer Engine, but {missing} here"
        raise UserError("option train.fp8", found=found, remedy=f"{remedy} none")


def _check_fp8(loop: LoopConfig, model: LmModelConfig, parallel: ParallelConfig, hardware: Hardware) -> None:
    able = [name for name in FP8_CAPABILITIES if runs_recipe(name, hardware.capability)]
    if not able:
        found = f"{loop.fp8!r} on {hardware}, which has no FP8 arithmetic"
        raise UserError("option train.fp8", found=found, remedy="set it to none, or use Ada, Hopper or newer")
    if loop.fp8_recipe not in able:
        (major, minor), end = FP8_CAPABILITIES[loop.fp8_recipe]
        needs = f"needs compute capability {major}.{minor}" + (f" to below {end[0]}.{end[1]}" if end else " or newer")
        found = f"{loop.fp8_recipe!r}, which {needs}, on {hardware}"
        raise UserError("option train.fp8_recipe", found=found, remedy=f"this device runs {', '.join(able)}")
    multiple = FP8_MULTIPLES.get(loop.fp8_recipe, 16)
    tensor, pieces = parallel.tensor, parallel.context * (parallel.tensor if parallel.sequence else 1)
    sizes = {
        "model.hidden": (model.hidden, 1, "1"),
        "model.ffn": (model.ffn, tensor, f"parallel.tensor = {tensor}"),
        "model.heads x head width": (model.heads * model.head_width, tensor, f"parallel.tensor = {tensor}"),
        "model.kv_heads x head width": (model.kv_heads * model.head_width, tensor, f"parallel.tensor = {tensor}"),
        "train.micro_batch x train.sequence_length": (
            loop.micro_batch * loop.sequence_length,
            pieces,
            f"the {pieces} processes that share a sequence",
        ),
    }
    for name, (size, divisor, named) in sizes.items():
        if size // divisor % multiple:
            own = size // divisor
            found = f"{size} / {named} = {own} = {own // multiple} x {multiple} + {own % multiple}, "
            found += f"but products in FP8 ({loop.fp8_recipe}) take multiples of {multiple}"
            raise UserError(name, found=found, remedy=f"make it a multiple of {divisor * multiple}, or train.fp8=none")


def runs_recipe(name: str, capability: tuple[int, int]) -> bool:
    """Whether a device of this compute capability runs a scaling recipe of FP8."""
    first, end = FP8_CAPABILITIES[name]
    return capability >= first and (end is None or capability < end)


def bytes_per_parameter(precision: str, parallel: ParallelConfig, data: int) -> float:
    """Bytes of weights, gradients and optimizer of one parameter in the process that holds it.

    In bf16 the weight has 2 and its fp32 gradient 4; the fp32 master weight and two moments have 12. In fp32 the weight
    is its own master. The distributed optimizer divides master and moments between the data parallel processes.
    """
    kept, divided = (6.0, 12.0) if precision != "fp32" else (8.0, 8.0)
    return kept + divided / (data if parallel.distributed_optimizer else 1)


def _check_memory(
    loop: LoopConfig,
    model: LmModelConfig,
    parallel: ParallelConfig,
    hardware: Hardware,
    data: int,
    vocabulary_size: int,
) -> None:
    """Refuse weights, gradients and optimizer that exceed the memory; `speechweave plan` counts activations, too."""
    parameters, shared = model.num_parameters(vocabulary_size), parallel.tensor * parallel.pipeline
    each = bytes_per_parameter(loop.precision, parallel, data)
    needed = parameters / shared * each
    if needed <= hardware.bytes:
        return
    found = (
        f"{parameters / 1e9:.2f} B parameters / (tensor {parallel.tensor} x pipeline {parallel.pipeline}) x {each:.1f} "
        f"bytes (weights, gradients, optimizer) = {needed / GIB:.0f} GiB a process, on {hardware}"
    )
    divided = bytes_per_parameter(loop.precision, ParallelConfig(distributed_optimizer=True), data)
    if parameters / shared * divided <= hardware.bytes:
        remedy = f"parallel.distributed_optimizer=true makes it {parameters / shared * divided / GIB:.0f} GiB"
    else:
        least = next(
            size for size in (2**power for power in range(20)) if parameters * divided / size <= hardware.bytes
        )
        remedy = f"tensor x pipeline of {least} at least, with parallel.distributed_optimizer=true"
    raise UserError("options parallel.*", found=found, remedy=f"{remedy}; see speechweave plan")
