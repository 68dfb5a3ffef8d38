"""Scoring of a run of answers by the rules of its benchmark, and the files that hold the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.answers.answer_file import AnswerFile, read_answers_of
from evaluation.answers.config import MEDIA, ScoreConfig
from evaluation.answers.judgements import Judgements, read_judgements, request_name
from evaluation.answers.judging import HEADER as JUDGE_HEADER
from evaluation.answers.judging import chosen_rules
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.rules.measure import ItemScore, SetScore, score_set
from evaluation.rules.rule import Answered, Compat, Rule
from evaluation.sets.item import EvaluationItem
from evaluation.sets.reading import read_set
from runtime.artefact import read_json, write_json, write_text
from runtime.stage import Run

from .score_table import score_table
from .stamp import ScoredRule, Stamp, stamp_of

SCORES, TABLE, ITEMS = "scores.json", "scores.md", "items.jsonl"
FAILED, NO_JUDGE = "no answer", "no judgement"


@dataclass(frozen=True)
class ItemRow:
    """The score of one item under one rule, a line of ``items.jsonl``."""

    rule: str
    medium: str
    compat: Compat
    item: EvaluationItem
    score: ItemScore

    def line(self) -> str:
        """As JSON."""
        record = {
            "id": self.item.id,
            "subset": self.item.subset,
            "medium": self.medium,
            "rule": self.rule,
            "compat": self.compat,
            "measures": {name: list(measure) for name, measure in sorted(self.score.measures.items())},
            "note": self.score.note,
            **({"details": dict(self.score.details)} if self.score.details else {}),
        }
        return json.dumps(record, ensure_ascii=False, default=str) + "\n"


def score_answers(config: ScoreConfig, run: Run) -> dict[str, Any]:
    """Score all answers by all rules; returns the headline measures."""
    benchmark = BENCHMARKS[config.benchmark]
    whole = read_set(benchmark.name, config.data, benchmark.read_item, max_bad_share=config.max_bad_share)
    answered = read_answers_of(config.answers, whole)
    judged = read_judgements(Path(config.judgements)) if config.judgements else Judgements({}, {})
    judge = read_json(Path(config.judgements) / JUDGE_HEADER) if config.judgements else {}
    scored: list[ScoredRule] = []
    lines: list[str] = []
    for medium in media_of(answered):
        for rule in chosen_rules(benchmark, config.rules):
            if rule.judge is not None and not config.judgements:
                run.say(f"rule {rule.name}: not scored (it needs judgements=, see evaluation judge)")
                continue
            for compat in ("default", "official") if rule.has_official else ("default",):
                rows = list(score_items(rule, medium, compat, answered, judged, config.seed))
                lines += [row.line() for row in rows]
                means = score_set([(row.item.subset, row.score) for row in rows], benchmark.combine)
                stamp = stamp_of(benchmark, rule, medium, compat, answered, judge, seed=config.seed)
                scored.append(ScoredRule(stamp, means))
    write_text(run.folder / ITEMS, "".join(lines))
    write_text(run.folder / TABLE, score_table(benchmark, scored))
    write_json(run.folder / SCORES, {"scores": [asdict(one) for one in scored]})
    run.say(score_table(benchmark, scored))
    return flat_metrics(benchmark, scored)


def media_of(answered: AnswerFile) -> list[str]:
    """The media of which there are answers; an answer that failed counts as of all media."""
    media = [medium for medium in MEDIA if any(one.said(medium) is not None for one in answered.answers.values())]
    return media or [MEDIA[0]]


def score_items(
    rule: Rule,
    medium: str,
    compat: Compat,
    answered: AnswerFile,
    judged: Judgements,
    seed: int,
) -> Iterator[ItemRow]:
    """The score of each item. An item without an answer gets the score of an empty one, and a note of its own."""
    for item in answered.found.items:
        answer = answered.answers[item.id]
        text = answer.said(medium)
        replies = judged.replies.get(request_name(item, rule, medium), ()) if rule.judge else ()
        score = rule.score(item, Answered(text or "", replies, compat, seed))
        if answer.failure or text is None:
            score = ItemScore(score.measures, FAILED, {"failure": answer.failure})
        yield ItemRow(rule.name, medium, compat, item, score)


def flat_metrics(benchmark: Benchmark, scored: list[ScoredRule]) -> dict[str, Any]:
    """The headline of each rule as a metric: ``<medium>.<rule>.<measure>``, official ones ``.official``."""
    metrics: dict[str, Any] = {}
    for one in scored:
        stamp: Stamp = one.stamp
        score: SetScore = one.score
        suffix = ".official" if stamp.compat == "official" else ""
        for name, mean in score.means.items():
            metrics[f"{stamp.medium}.{stamp.rule}.{name}{suffix}"] = mean.micro
        for name, value in score.combined.items():
            metrics[f"{stamp.medium}.{stamp.rule}.{name}{suffix}"] = value
    metrics["items"] = scored[0].stamp.items if scored else 0
    metrics["failures"] = scored[0].stamp.failures if scored else 0
    return metrics
