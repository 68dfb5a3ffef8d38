"""Scores of likelihoods: every rule in every direction with its stamp, and the files that hold them; no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from evaluation.rules.measure import ItemScore, Measure, score_set
from evaluation.scores.score_table import score_table
from evaluation.scores.stamp import ScoredRule, Stamp
from runtime.artefact import write_json, write_text
from runtime.stage import Run

from .choice_sets import BENCHMARKS, ChoiceBenchmark
from .config import UNIT, BaseScoreConfig
from .likelihood_file import ChoiceLikelihood, LikelihoodHeader, read_likelihoods
from .likelihood_rules import FAILED, RULES, LikelihoodRule

SCORES, TABLE, ITEMS = "scores.json", "scores.md", "items.jsonl"


def score_likelihoods(config: BaseScoreConfig, run: Run) -> dict[str, Any]:
    """Score all directions by all rules; returns the accuracies, also of each subset."""
    read = read_likelihoods(config.likelihoods)
    benchmark = BENCHMARKS[read.header.benchmark]
    scored: list[ScoredRule] = []
    lines: list[str] = []
    for direction in read.header.directions:
        likelihoods = [one for one in read.likelihoods if one.direction == direction]
        for name in config.rules or RULES:
            rule = RULES[name]
            scores = list(score_choices(likelihoods, rule, has_marks=config.marks))
            lines += [item_line(one, rule, score) for one, score in zip(likelihoods, scores, strict=True)]
            pairs = [(one.subset, score) for one, score in zip(likelihoods, scores, strict=True)]
            stamp = stamp_of_rule(read.header, rule, direction, likelihoods, config)
            scored.append(ScoredRule(stamp, score_set(pairs)))
    table = score_table(with_absent_parts(benchmark, read.likelihoods), scored)
    write_text(run.folder / ITEMS, "".join(lines))
    write_text(run.folder / TABLE, table)
    write_json(run.folder / SCORES, {"scores": [asdict(one) for one in scored]})
    run.say(table)
    return accuracies(scored)


def with_absent_parts(benchmark: ChoiceBenchmark, likelihoods: Sequence[ChoiceLikelihood]) -> ChoiceBenchmark:
    """The benchmark with a note on the parts that have no item: the mean of subsets is without them."""
    present = {one.subset for one in likelihoods}
    absent = [part for part in benchmark.parts if part not in present]
    return (
        replace(benchmark, notes={**benchmark.notes, "parts without an item": ", ".join(absent)})
        if absent
        else benchmark
    )


def score_choices(
    likelihoods: Sequence[ChoiceLikelihood], rule: LikelihoodRule, *, has_marks: bool
) -> Iterator[ItemScore]:
    """The score of each item; one that failed is wrong, with a note."""
    for one in likelihoods:
        if one.failure:
            yield ItemScore({"accuracy": Measure(0.0)}, FAILED, {"failure": one.failure}, one.cluster)
        else:
            yield replace(rule.score(one.candidates, one.correct, has_marks=has_marks), cluster=one.cluster)


def item_line(one: ChoiceLikelihood, rule: LikelihoodRule, score: ItemScore) -> str:
    """An item's score as JSON."""
    record = {
        "id": one.id,
        "subset": one.subset,
        **({"cluster": one.cluster} if one.cluster else {}),
        "direction": one.direction,
        "rule": rule.name,
        "measures": {name: list(measure) for name, measure in score.measures.items()},
        "note": score.note,
        **({"details": dict(score.details)} if score.details else {}),
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def stamp_of_rule(
    header: LikelihoodHeader,
    rule: LikelihoodRule,
    direction: str,
    likelihoods: Sequence[ChoiceLikelihood],
    config: BaseScoreConfig,
) -> Stamp:
    """The stamp of the scores of one direction by one rule."""
    return Stamp(
        benchmark=header.benchmark,
        data_digest=header.set_digest,
        items=header.items,
        left_out=header.left_out,
        repeated=header.repeated,
        failures=sum(bool(one.failure) for one in likelihoods),
        model=header.model,
        model_digest=header.model_digest,
        direction=direction,
        medium="speech" if direction.endswith("s") else "text",
        limit=int(header.settings["limit"]),
        shots=0,
        recogniser="",
        rule=rule.name,
        rule_version=rule.version,
        compat="default",
        normaliser="",
        judge="",
        judge_prompt="",
        judge_parameters={},
        seed=config.seed,
        answer_seed=header.seed,
        batch_size=UNIT,
        settings={**header.settings, "marks": config.marks},
    )


def accuracies(scored: Sequence[ScoredRule]) -> dict[str, Any]:
    """``<direction>.<rule>.accuracy`` and, where a set has parts, ``<direction>.<rule>.accuracy.<subset>``."""
    metrics: dict[str, Any] = {}
    for one in scored:
        name, mean = f"{one.stamp.direction}.{one.stamp.rule}.accuracy", one.score.means["accuracy"]
        metrics[name] = mean.micro
        metrics |= {f"{name}.{subset}": value for subset, value in mean.subsets.items() if subset}
    return metrics | {"items": scored[0].stamp.items, "failures": max(one.stamp.failures for one in scored)}
