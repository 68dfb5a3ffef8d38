"""Scoring of a run of answers by the rules of its benchmark, and the files that hold the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.answers.answer_file import AnswerFile, read_answers
from evaluation.answers.config import MEDIA, ScoreConfig
from evaluation.answers.judgements import Judgements, read_judgements, request_name
from evaluation.answers.judging import HEADER as JUDGE_HEADER
from evaluation.answers.judging import chosen_rules
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.rules.measure import ItemScore, SetScore, rounded, score_set
from evaluation.rules.rule import Answered, Compat, Rule
from evaluation.sets.item import EvaluationItem
from runtime.artefact import read_json, write_json, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .score_table import score_table
from .stamp import JudgeCounts, OverallScore, ScoredRule, Stamp, stamp_of

SCORES, TABLE, ITEMS = "scores.json", "scores.md", "items.jsonl"
FAILED, ANOTHERS = "no answer", "answer of another item with this prompt"


@dataclass(frozen=True)
class ItemRow:
    """The score of one item under one rule, a line of ``items.jsonl``.

    Attributes:
        replies: of the judge; None where it was not asked about this answer.
    """

    rule: str
    medium: str
    compat: Compat
    item: EvaluationItem
    score: ItemScore
    replies: int | None

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
    answered = read_answers(config.answers, benchmark, config.data, config.max_bad_share)
    judged = read_judgements(Path(config.judgements)) if config.judgements else Judgements({}, {})
    judge = read_json(Path(config.judgements) / JUDGE_HEADER) if config.judgements else {}
    if judge.get("answers", answered.digest) != answered.digest:  # older judgements do not say what they judge
        remedy = f"give the judgements of {config.answers}, or judge these answers"
        raise UserError(str(config.judgements), found="judgements of other answers", remedy=remedy)
    scored: list[ScoredRule] = []
    lines: list[str] = []
    overall: list[OverallScore] = []
    for medium in media_of(answered):
        for rule in chosen_rules(benchmark, config.rules):
            if medium not in rule.media or not any(map(rule.applies, answered.found.items)):
                continue
            if rule.judge is not None and not config.judgements:
                run.say(f"rule {rule.name}: not scored (it needs judgements=, see evaluate judge)")
                continue
            for compat in ("default", "official") if rule.has_official else ("default",):
                rows = list(score_items(rule, medium, compat, answered, judged, config.seed))
                lines += [row.line() for row in rows]
                means = score_set([(row.item.subset, row.score) for row in rows], rule.combine)
                stamp = stamp_of(benchmark, rule, medium, compat, answered, judge, items=len(rows), seed=config.seed)
                scored.append(ScoredRule(stamp, means, None if rule.judge is None else judge_counts(rows)))
        overall += overall_scores(benchmark, medium, scored)
    table = score_table(benchmark, scored, overall)
    write_text(run.folder / ITEMS, "".join(lines))
    write_text(run.folder / TABLE, table)
    records = {"scores": [asdict(one) for one in scored], "overall": [asdict(one) for one in overall]}
    write_json(run.folder / SCORES, records)
    run.say(table)
    return flat_metrics(scored, overall) | {
        "items": len(answered.found.items),
        "failures": sum(bool(answer.failure) for answer in answered.answers.values()),
    }


def judge_counts(rows: Sequence[ItemRow]) -> JudgeCounts:
    """The numbers of the judge's replies to the answers of one rule."""
    numbers = [row.replies for row in rows if row.replies is not None]
    return JudgeCounts(
        asked=len(numbers),
        unanswered=numbers.count(0),
        replies=sum(numbers),
        unreadable=sum(row.score.unreadable for row in rows),
    )


def overall_scores(benchmark: Benchmark, medium: str, scored: Sequence[ScoredRule]) -> list[OverallScore]:
    """The overall numbers of a medium: by the default rules, and with official ones in place of those that differ."""
    if benchmark.overall is None:
        return []
    found: list[OverallScore] = []
    rules: dict[str, SetScore] = {}
    for compat in ("default", "official"):
        chosen = [one for one in scored if one.stamp.medium == medium and one.stamp.compat == compat]
        of_compat = {one.stamp.rule: one.score for one in chosen}
        rules |= of_compat
        if of_compat:
            values = {name: rounded(value) for name, value in benchmark.overall(rules).items()}
            found += [OverallScore(medium, compat, values)] if values else []
    return found


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
    """The score of each item that the rule applies to.

    An item without an answer gets the score of an empty one, and a note of its own; likewise one that the published
    script scores by the answer of another item.
    """
    items = [item for item in answered.found.items if rule.applies(item)]
    key = rule.answer_key if compat == "official" and rule.answer_key else lambda item: item.id
    answerer = {key(item): item.id for item in items}  # the last of a key
    for item in items:
        source = answerer[key(item)]
        answer = answered.answers[source]
        text = answer.said(medium)
        replies = judged.replies.get(request_name(item, rule, medium), ()) if rule.judge else ()
        score = rule.score(item, Answered(text or "", replies, compat, seed, answer.text or ""))
        if answer.failure or text is None:
            score = ItemScore(score.measures, FAILED, {"failure": answer.failure})
        elif source != item.id:
            score = ItemScore(score.measures, ANOTHERS, {"answer_of": source} | dict(score.details))
        is_judged = rule.judge is not None and bool((text or "").strip())
        yield ItemRow(rule.name, medium, compat, item, score, len(replies) if is_judged else None)


def flat_metrics(scored: Sequence[ScoredRule], overall: Sequence[OverallScore]) -> dict[str, Any]:
    """Means as metrics: ``<medium>.<rule>.<measure>``, overall ones ``<medium>.<name>``, official with a suffix."""
    metrics: dict[str, Any] = {}
    for one in scored:
        stamp: Stamp = one.stamp
        score: SetScore = one.score
        suffix = ".official" if stamp.compat == "official" else ""
        for name, mean in score.means.items():
            metrics[f"{stamp.medium}.{stamp.rule}.{name}{suffix}"] = mean.micro
        for name, value in score.combined.items():
            metrics[f"{stamp.medium}.{stamp.rule}.{name}{suffix}"] = value
        if one.judged is not None and not suffix:
            metrics[f"{stamp.medium}.{stamp.rule}.unanswered"] = one.judged.unanswered
            metrics[f"{stamp.medium}.{stamp.rule}.unreadable"] = one.judged.unreadable
    for of_medium in overall:
        suffix = ".official" if of_medium.compat == "official" else ""
        metrics |= {f"{of_medium.medium}.{name}{suffix}": value for name, value in of_medium.values.items()}
    return metrics
