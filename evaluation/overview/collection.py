"""Collection of scores: records of ``scores.json`` files as cells of a table of models by benchmarks and directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark, PublishedScore
from evaluation.scores.score_table import arrow
from evaluation.speech.speech_columns import COLUMNS, SPEECH_QUALITY
from runtime.artefact import fingerprint, read_json
from runtime.errors import UserError

SCORES = "scores.json"
MODEL_FIELDS = ("model", "model_digest")  # of a stamp: all the others must be equal for a comparison


@dataclass(frozen=True)
class Cell:
    """One score: its value as printed, its interval, and its stamp.

    Attributes:
        benchmark: name of the set.
        direction: as papers print it.
        model: what was scored.
        rule: name, with the measure and the compat mode where they are not the defaults.
        is_headline: whether it is the overall number, or else the benchmark's first rule and that rule's headline.
        value: as printed.
        interval: as printed; None where there is none.
        failures: items without an answer, or left out.
        stamp: all fields.
        source: file it was read from.
        digits: printed after the point.
    """

    benchmark: str
    direction: str
    model: str
    rule: str
    is_headline: bool
    value: float
    interval: tuple[float, float] | None
    failures: int
    stamp: Mapping[str, Any]
    source: str
    digits: int = 1

    @property
    def anchor(self) -> str:
        """Name of its stamp on the page."""
        return f"stamp-{fingerprint({**self.stamp, 'shown': self.rule})}"

    @property
    def condition(self) -> str:
        """Digest of the stamp without the model: equal for scores that may be compared."""
        return fingerprint({name: value for name, value in self.stamp.items() if name not in MODEL_FIELDS})


def score_files(sources: Sequence[str]) -> list[Path]:
    """The files of scores in folders, in order.

    Raises:
        UserError: a source has none.
    """
    files: list[Path] = []
    for source in sources:
        root = Path(source)
        found = [root] if root.is_file() else sorted(root.rglob(SCORES))
        if not found:
            raise UserError(source, found=f"no {SCORES}", remedy="give an output folder of evaluate score")
        files += [file for file in found if file not in files]
    return files


def read_cells(file: Path, benchmarks: Mapping[str, Benchmark]) -> list[Cell]:
    """The cells of one file.

    Raises:
        UserError: not a file of scores, or of a benchmark that is not known.
    """
    cells: list[Cell] = []
    try:
        record = read_json(file)
        cells += overall_cells(record, str(file))
        has_overall = {one["medium"] for one in record.get("overall", [])}
        for one in record["scores"]:
            stamp, score = one["stamp"], one["score"]
            benchmark = benchmarks.get(stamp["benchmark"])
            rule = None if benchmark is None else benchmark.rule(stamp["rule"])
            column = COLUMNS.get(stamp["rule"]) if stamp["benchmark"] == SPEECH_QUALITY else None
            headline, scale, digits = ("accuracy", 100.0, 1) if rule is None else (rule.headline, rule.scale, 1)
            headline, scale, digits = (headline, scale, digits) if column is None else (stamp["rule"], *column[1:3])
            is_first = benchmark is None or (benchmark.rules[0].name == stamp["rule"] and stamp["compat"] == "default")
            failures = int(stamp["failures"]) + int(stamp["left_out"])
            numbers = {name: (mean["micro"], mean["interval"]) for name, mean in score["means"].items()}
            numbers |= {name: (value, None) for name, value in score["combined"].items()}
            for name, (value, interval) in numbers.items():
                words = [stamp["rule"], *([name] if name != headline else [])]
                words += ["official"] if stamp["compat"] == "official" else []
                cells.append(
                    Cell(
                        benchmark=stamp["benchmark"],
                        direction=arrow(stamp["direction"]),
                        model=stamp["model"],
                        rule=", ".join(words),
                        is_headline=is_first and name == headline and stamp.get("medium") not in has_overall,
                        value=value * scale,
                        interval=None if interval is None else (interval[0] * scale, interval[1] * scale),
                        failures=failures,
                        stamp=stamp,
                        source=str(file),
                        digits=digits,
                    )
                )
    except (KeyError, TypeError, StopIteration) as error:
        raise UserError(str(file), found=f"no file of scores ({error!r})", remedy="score the answers again") from error
    return cells


def overall_cells(record: Mapping[str, Any], source: str) -> list[Cell]:
    """The cells of numbers out of several rules, if a benchmark has any; their stamp is that of all those rules."""
    cells: list[Cell] = []
    for one in record.get("overall", []):
        stamps = [each["stamp"] for each in record["scores"] if each["stamp"]["medium"] == one["medium"]]
        shared = {name: value for name, value in stamps[0].items() if all(each[name] == value for each in stamps)}
        parts = {
            f"{each['rule']}, {each['compat']}": fingerprint({**each, **dict.fromkeys(MODEL_FIELDS)}) for each in stamps
        }
        for name, value in one["values"].items():
            cells.append(
                Cell(
                    benchmark=stamps[0]["benchmark"],
                    direction=arrow(stamps[0]["direction"]),
                    model=stamps[0]["model"],
                    rule=name if one["compat"] == "default" else f"{name}, {one['compat']}",
                    is_headline=one["compat"] == "default",
                    value=value,
                    interval=None,
                    failures=int(stamps[0]["failures"]) + int(stamps[0]["left_out"]),
                    stamp=shared | {"compat": one["compat"], "parts": parts},
                    source=source,
                )
            )
    return cells


@dataclass(frozen=True)
class BenchmarkTable:
    """One benchmark: our cells, the published rows, and whether our cells may be compared with each other."""

    name: str
    summary: str
    cells: tuple[Cell, ...]
    published: tuple[PublishedScore, ...]
    are_comparable: bool


def tables_of(cells: Iterable[Cell], benchmarks: Mapping[str, Benchmark]) -> list[BenchmarkTable]:
    """The cells by benchmark, in the order of the table of benchmarks; headlines first."""
    by_name: dict[str, list[Cell]] = {}
    for cell in cells:
        by_name.setdefault(cell.benchmark, []).append(cell)
    order = [name for name in benchmarks if name in by_name] + sorted(set(by_name) - set(benchmarks))
    tables = []
    for name in order:
        mine = sorted(by_name[name], key=lambda one: (not one.is_headline, one.rule, one.direction, one.model))
        groups: dict[tuple[str, str], set[str]] = {}
        for cell in mine:
            groups.setdefault((cell.rule, cell.direction), set()).add(cell.condition)
        known = benchmarks.get(name)
        tables.append(
            BenchmarkTable(
                name=name,
                summary=name if known is None else known.summary,
                cells=tuple(mine),
                published=() if known is None else known.published,
                are_comparable=all(len(conditions) == 1 for conditions in groups.values()),
            )
        )
    return tables
