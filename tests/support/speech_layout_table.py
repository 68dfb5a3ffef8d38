"""Table of speech input under every layout against one process, in three modes of training.

    python -m tests.support.speech_layout_table

Tiny recordings through the encoder of a tiny tokenizer, 20 steps in fp32. For each layout: the largest relative
difference of the losses to one process, the largest difference of the connector's final weights between the ranks that
hold it, and to one process (both relative to the largest weight).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.support.tiny_lm import AudioData, run_ranks

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "tensor": (2, {"tensor": 2}),
    "tensor and sequence": (2, {"tensor": 2, "sequence": True}),
    "pipeline": (2, {"pipeline": 2}),
    "virtual pipeline": (2, {"pipeline": 2, "virtual": 2}),
    "context": (2, {"context": 2}),
    "data": (2, {}),
    "data, distributed optimizer": (2, {"distributed_optimizer": True}),
    "tensor, pipeline and sequence": (4, {"tensor": 2, "pipeline": 2, "sequence": True}),
}
MODES: dict[str, dict[str, Any]] = {
    "encoder, connector and lm": {"train": ["encoder", "connector", "lm"]},
    "connector and lm": {"train": ["connector", "lm"]},
    "connector": {"train": ["connector"], "learning_rate": 0.05},
}
STEPS = {"steps": 20, "micro_batch": 4, "global_batch": 8}


class RankResult(NamedTuple):
    """A rank's losses, and its connector's final weights in one row (none where it holds no connector)."""

    losses: list[float]
    weights: np.ndarray


def train(data: AudioData, out: Path, **options: Any) -> RankResult:
    """Train on this process (one of `run_ranks`)."""
    from lm.training import trainer

    begun: list[Any] = []
    begin = trainer.Trainer.__init__

    def remember(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        begun.append(self)

    trainer.Trainer.__init__ = remember  # type: ignore[method-assign]  # this process is a fork
    with contextlib.redirect_stdout(io.StringIO()):
        trained = data.train(out, **STEPS, **options)
    parts = [
        parameter.detach().double().numpy().ravel()
        for chunk in begun[0].chunks
        for name, parameter in chunk.named_parameters()
        if "speech_input.connector." in name
    ]
    return RankResult(trained.losses, np.concatenate(parts) if parts else np.zeros(0))


def main() -> None:
    """Print the table as Markdown."""
    from lm.training import trainer  # noqa: F401

    print("| layout | " + " | ".join(MODES) + " |")
    print("|---|" + "---|" * len(MODES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = AudioData(folder / "data")

        def ranks(layout: str, size: int, options: dict[str, Any], mode: str) -> list[RankResult]:
            out = folder / f"{layout}-{mode}"
            return run_ranks(
                lambda: train(data, out, speech=MODES[mode], **options), size, folder / f"s-{layout}-{mode}"
            )

        plain = {mode: ranks("one process", 1, {}, mode)[0] for mode in MODES}
        for layout, (size, options) in LAYOUTS.items():
            cells = [cell(ranks(layout, size, options, mode), plain[mode]) for mode in MODES]
            print(f"| {layout} | " + " | ".join(cells) + " |", flush=True)


def cell(found: list[RankResult], plain: RankResult) -> str:
    """The three differences of a layout."""
    losses = max(abs(a / b - 1) for a, b in zip(found[0].losses, plain.losses, strict=True))
    holders = [one.weights for one in found if len(one.weights)]
    largest = np.abs(plain.weights).max()
    between = max(np.abs(weights - holders[0]).max() for weights in holders) / largest
    to_one = max(np.abs(weights - plain.weights).max() for weights in holders) / largest
    return f"{losses:.1e} / {between:.0e} / {to_one:.0e}"


if __name__ == "__main__":
    main()
