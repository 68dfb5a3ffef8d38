"""Modality gap: a model's score in T->T less its score on the same items with speech in the question or the answer.

The items are paired, so the interval is one of the differences: narrower than the two scores' own intervals suggest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus.json_lines import numbered_lines, parse_json_line
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.rules.measure import interval
from evaluation.scores.score_table import arrow
from runtime.artefact import read_json
from runtime.errors import UserError
from runtime.hashing import seed_of

ITEMS = "items.jsonl"
TEXT = "t2t"
ALIKE = ("benchmark", "data_digest", "limit", "shots", "rule", "rule_version", "compat", "model_digest", "judge")
ALIKE_SETTINGS = ("prompt", "answer_by", "worked_examples", "system", "temperature", "marks", "used_modality")


@dataclass(frozen=True, kw_only=True)
class ModalityGap:
    """The gap of one model on one benchmark by one rule.

    Attributes:
        benchmark: name of the set.
        model: as it was given.
        rule: by which both were scored.
        direction: as papers print it.
        text: score in T->T, as printed.
        other: score in ``direction``.
        gap: ``text`` less ``other``.
        interval: 95 % bootstrap interval of the gap, over paired items.
        items: number of them.
    """

    benchmark: str
    model: str
    rule: str
    direction: str
    text: float
    other: float
    gap: float
    interval: tuple[float, float]
    items: int


@dataclass(frozen=True)
class _ScoredItems:
    """The values of items in one direction, by id, with the stamp of their mean."""

    stamp: Mapping[str, Any]
    values: Mapping[str, float]

    @property
    def key(self) -> str:
        """Equal for scores that differ in their direction alone."""
        stamp, settings = self.stamp, self.stamp.get("settings", {})
        return json.dumps([[stamp.get(name) for name in ALIKE], [settings.get(name) for name in ALIKE_SETTINGS]])


def modality_gaps(files: Sequence[Path], benchmarks: Mapping[str, Benchmark]) -> list[ModalityGap]:
    """The gaps between the scores of files, where a model was asked in T->T and otherwise under alike conditions.

    Args:
        files: ``scores.json`` files, with the ``items.jsonl`` of the same run next to them.
        benchmarks: for their rules' headlines.

    Raises:
        UserError: a line of items that is none.
    """
    scored = [one for file in files for one in _read(file, benchmarks)]
    texts = {one.key: one for one in scored if one.stamp["direction"] == TEXT}
    gaps = []
    for one in scored:
        text = texts.get(one.key)
        if text is None or one.stamp["direction"] == TEXT:
            continue
        ids = sorted(text.values.keys() & one.values.keys())
        if not ids:
            continue
        written, other = (np.array([each.values[id] for id in ids]) for each in (text, one))
        scale = _scale(one.stamp, benchmarks)
        seed = seed_of(f"modality gap {one.stamp['benchmark']} {one.stamp['direction']}")
        low, high = interval(written - other, np.ones(len(ids)), seed)
        gaps.append(
            ModalityGap(
                benchmark=one.stamp["benchmark"],
                model=one.stamp["model"],
                rule=one.stamp["rule"],
                direction=arrow(one.stamp["direction"]),
                text=float(written.mean()) * scale,
                other=float(other.mean()) * scale,
                gap=float((written - other).mean()) * scale,
                interval=(low * scale, high * scale),
                items=len(ids),
            )
        )
    return gaps


def _scale(stamp: Mapping[str, Any], benchmarks: Mapping[str, Benchmark]) -> float:
    benchmark = benchmarks.get(stamp["benchmark"])
    return 100.0 if benchmark is None else benchmark.rule(stamp["rule"]).scale


def _read(file: Path, benchmarks: Mapping[str, Benchmark]) -> Iterator[_ScoredItems]:
    """The items of every rule whose headline is a mean of items: all weights are 1."""
    items = file.with_name(ITEMS)
    if not items.is_file():
        return
    lines: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for number, line in numbered_lines(items.read_bytes().split(b"\n")):
        try:
            record = parse_json_line(line)
            medium = record["direction"] if "direction" in record else record["medium"]
            place = (str(record["rule"]), str(medium), str(record.get("compat", "default")))
            lines.setdefault(place, {})[str(record["id"])] = record["measures"]
        except (ValueError, KeyError, TypeError) as error:
            remedy = "score the answers again"
            raise UserError(f"{items}, line {number}", found=f"no item's score ({error!r})", remedy=remedy) from error
    for one in read_json(file)["scores"]:
        stamp = one["stamp"]
        benchmark = benchmarks.get(stamp["benchmark"])
        headline = "accuracy" if benchmark is None else benchmark.rule(stamp["rule"]).headline
        found: dict[str, Mapping[str, Any]] = {}
        for medium in (stamp["direction"], stamp.get("medium", "")):
            found = found or lines.get((stamp["rule"], medium, stamp["compat"]), {})
        measures = {id: measure[headline] for id, measure in found.items() if headline in measure}
        if measures and all(weight == 1 for _, weight in measures.values()):
            yield _ScoredItems(stamp, {id: float(total) for id, (total, _) in measures.items()})
