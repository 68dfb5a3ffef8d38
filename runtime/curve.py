"""Training curves: ``curve.jsonl`` (one row a step) and the same scalars in TensorBoard, cut back on resume."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artefact import write_text

Row = dict[str, float]


class Curve:
    """Rows of ``<folder>/curve.jsonl`` and scalars in ``<folder>/tensorboard``.

    Args:
        folder: the run folder.
        first_step: rows of later steps, left by a run that was killed, are cut off.
        is_written: False on all processes but one.
        digits: significant digits of the values in the file; None: all.

    Attributes:
        rows: the file's rows; empty where nothing is written.
    """

    def __init__(self, folder: Path, *, first_step: int, is_written: bool, digits: int | None = None) -> None:
        self.path = folder / "curve.jsonl"
        self.digits = digits
        self.rows: list[Row] = []
        self.writer: Any = None
        if not is_written:
            return
        from torch.utils.tensorboard import SummaryWriter

        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.rows = [row for row in map(parse_row, lines) if row is not None and row["step"] <= first_step]
        self._rewrite()
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

    def add(self, step: int, values: Row, *, timing: Row | None = None) -> None:
        """Add values to the row of ``step``.

        Args:
            step: not earlier than the newest row's.
            values: by name; names that the row has already are overwritten.
            timing: goes to TensorBoard only, so that equal runs have equal files.
        """
        if self.writer is None or not values:
            return
        written = {name: self._rounded(value) for name, value in values.items()}
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1] |= written
            self._rewrite()
        else:
            self.rows.append({"step": step, **written})
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self.rows[-1]) + "\n")
        for name, value in (values | (timing or {})).items():
            self.writer.add_scalar(name, value, step)

    def last(self, name: str) -> float | None:
        """The newest value of a column; None where no row has it."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    def close(self) -> None:
        """Flush TensorBoard's file."""
        if self.writer is not None:
            self.writer.close()

    def _rounded(self, value: float) -> float:
        return value if self.digits is None else float(f"{value:.{self.digits}g}")

    def _rewrite(self) -> None:
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))


@dataclass
class RunningMeans:
    """Means of the values of several steps, for one row; values that are not finite are left out.

    The two dictionaries are plain data, kept in a checkpoint as the half-filled row.
    """

    sums: Row = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Row) -> None:
        """Take in the values of one step."""
        for name, value in values.items():
            if math.isfinite(value):
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> Row:
        """The means since the last call."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


def parse_row(line: str) -> Row | None:
    """A row of the file; None for a line that a kill cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None
