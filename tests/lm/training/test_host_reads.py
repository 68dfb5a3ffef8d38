"""A training step reads nothing from the device: its loss and its gradient norm are read when they are logged."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lm.training.speech_config import SpeechConfig

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "one process": (1, {}),
    "all recomputed": (1, {"recompute": "full"}),
    "attention recomputed": (1, {"recompute": "selective"}),
    "bf16, z-loss": (1, {"precision": "bf16", "z_loss": 1e-4}),
    "packed": (1, {"is_packed": True, "rope_interleaved": True, "rope_share": 0.5}),
    "tensor and sequence": (2, {"tensor": 2, "sequence": True}),
    "virtual pipeline": (2, {"pipeline": 2, "virtual": 2}),
    "context": (2, {"context": 2}),
    "data, distributed optimizer": (2, {"distributed_optimizer": True}),
    "bf16, distributed optimizer": (2, {"distributed_optimizer": True, "precision": "bf16"}),
    "tensor, loss in slices": (2, {"tensor": 2, "loss_slices": 3}),
}
ATEN = torch.ops.aten
READS = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.equal.default,
    ATEN.bincount.default,
    ATEN._unique2.default,
}
READING_CALLS = {torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.__array__}
OF_THE_WATCH = ("/torch/", "lm/training/cpu.py", "test_host_reads.py")
# Tensors of megatron-core that lie in host memory on every machine: states of the host's random generator, and the kind
# of mask that attention takes through recomputation.
ON_THE_HOST = ("megatron/core/tensor_parallel/random.py", "megatron/core/transformer/attention.py")


class HostReads:
    """Places of the program that read a tensor, or make one whose size is known from another's values only.

    On a CPU host and device are the same memory, so these reads are recognised by the operation.
    """

    def __init__(self) -> None:
        self.places: list[str] = []
        self.is_off = False

    def add(self, what: object) -> None:
        stack = [one for one in traceback.extract_stack() if not any(name in one.filename for name in OF_THE_WATCH)]
        if not self.is_off and not stack[-1].filename.endswith(ON_THE_HOST):
            self.places.append(f"{what} at {stack[-1].filename}:{stack[-1].lineno}")

    def during(self, work: Any, *arguments: Any, **options: Any) -> Any:
        with Calls(self), Operations(self):
            return work(*arguments, **options)

    def unseen(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Batches whose making, in host memory, does not count."""
        while True:
            self.is_off = True
            batch = next(batches, None)
            self.is_off = False
            if batch is None:
                return
            yield batch


class Operations(TorchDispatchMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        is_by_mask = function in (ATEN.index.Tensor, ATEN.index_put_.default) and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        if function is ATEN.index_put_.default and arguments[2].numel() == 1:
            is_by_mask = False  # torch fills a mask with one number in place
        is_unsized = function is ATEN.repeat_interleave.Tensor and options.get("output_size") is None
        if function in READS or is_by_mask or is_unsized:
            self.reads.add(function)
        return function(*arguments, **options)


class Calls(TorchFunctionMode):
    def __init__(self, reads: HostReads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function in READING_CALLS:
            self.reads.add(function.__name__)
        return function(*arguments, **(options or {}))


def reads_of_two_steps(data: Any, out: Path, is_packed: bool = False, **options: Any) -> tuple[int, list[str]]:
    """Steps that were watched, and the host reads in them."""
    from lm.training import trainer

    reads, step, steps = HostReads(), trainer.Trainer._step, 0

    def watched_step(self: Any, number: int, batches: list[Any]) -> Any:
        nonlocal steps
        steps += 1
        return reads.during(step, self, number, [reads.unseen(own) for own in batches])

    trainer.Trainer._step = watched_step  # this process is a fork
    if is_packed:  # as on a GPU; on a CPU the attention makes a mask of it
        trainer.has_varlen_attention = lambda *_: True
    data.train(out, **{"steps": 2, "warmup_steps": 0, "validation_samples": 1, **options})
    return steps, reads.places


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_step_of_every_layout(name: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    size, options = LAYOUTS[name]
    assert run_ranks(lambda: reads_of_two_steps(tiny, tmp_path, **options), size) == [(2, [])] * size


@pytest.mark.parametrize("source", ["vectors", "recordings", "codes"])
def test_a_step_on_speech_as_vectors(source: str, request: Any, run_ranks: Any, tmp_path: Path) -> None:
    data: Any = request.getfixturevalue("strided" if source == "vectors" else "audio")
    options: dict[str, Any] = {"speech": {"train": ["encoder", "connector", "lm"]}}
    if source == "vectors":
        options = {"connector": {"kind": "conv", "stride": 2}}
    elif source == "codes":
        speech = SpeechConfig(source="codes", encoder=str(data.folder / "tokenizer"))
        data, options = data.codes_data, {"speech": speech, "forms": ("text", "asr", "interleaved")}
    assert run_ranks(lambda: reads_of_two_steps(data, tmp_path, **options), 1) == [(2, [])]


def test_a_read_is_seen() -> None:
    reads = HostReads()
    tensor = torch.tensor([1.0, 0.0])
    reads.during(lambda: (tensor.sum().item(), tensor.nonzero(), tensor[tensor > 0], tensor.tolist(), float(tensor[0])))
    assert len(reads.places) == 5
