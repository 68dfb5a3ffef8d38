"""The training curve: rows of ``curve.jsonl`` and the same numbers in TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.artefact import write_text

Row = dict[str, float]


class Curve:
    """Keeps ``<folder>/curve.jsonl`` (one row a step) and scalars in ``<folder>/tensorboard``.

    Args:
        folder: the run folder.
        first_step: rows of later steps, left by a run that was killed, are cut off.
        is_shown: False on all processes but one: nothing is written.

    Attributes:
        rows: what the file holds.
    """

    def __init__(self, folder: Path, *, first_step: int, is_shown: bool) -> None:
        self.path = folder / "curve.jsonl"
        self.rows: list[Row] = []
        self.writer: Any = None
        if not is_shown:
            return
        from torch.utils.tensorboard import SummaryWriter

        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.rows = [row for row in map(_parse, lines) if row is not None and row["step"] <= first_step]
        self._rewrite()
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=first_step + 1)

    def add(self, step: int, values: Row, *, timing: Row | None = None) -> None:
        """Add values of a step; ``timing`` goes to TensorBoard only, so that equal runs have equal files."""
        if self.writer is None or not values:
            return
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1] |= values
            self._rewrite()
        else:
            self.rows.append({"step": step, **values})
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.rows[-1]) + "\n")
        for name, value in (values | (timing or {})).items():
            self.writer.add_scalar(name, value, step)

    def last(self, name: str) -> float | None:
        """The newest value of a column."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self.writer is not None:
            self.writer.close()

    def _rewrite(self) -> None:
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


def _parse(line: str) -> Row | None:
    """A row, or None for a line cut off by a kill."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None
