"""The stamp of a score: all that must be equal for two scores to be comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.answers.answer_file import AnswerFile
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.rules.measure import SetScore
from evaluation.rules.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """Everything that a score depends on.

    Attributes:
        benchmark: name of the set.
        data_digest: of its items, audio included.
        items: number of items scored.
        left_out: bad rows of the set.
        repeated: items whose prompt came before (they are scored like all others).
        failures: items that the model gave no answer to (they score as empty answers).
        model: what was asked.
        model_digest: of its files, or what an endpoint says of itself.
        direction: media of prompt and reply.
        medium: of the reply that was scored.
        limit: number of items chosen out of the set, with the answers' seed; 0 means all.
        shots: worked examples in front of each prompt.
        recogniser: of spoken replies.
        rule: name of the scoring rule.
        rule_version: of its code.
        compat: ``default``, or ``official`` where the published script's quirks are reproduced.
        normaliser: of texts.
        judge: model of the judge; "" for rules without one.
        judge_prompt: name and digest of its prompt.
        judge_parameters: temperature, top_p, n, max_tokens.
        seed: of random choices in scoring.
        answer_seed: of sampled replies.
        batch_size: of the answers.
        settings: further options of the answers.
    """

    benchmark: str
    data_digest: str
    items: int
    left_out: int
    repeated: int
    failures: int
    model: str
    model_digest: str
    direction: str
    medium: str
    limit: int
    shots: int
    recogniser: str
    rule: str
    rule_version: int
    compat: str
    normaliser: str
    judge: str
    judge_prompt: str
    judge_parameters: Mapping[str, Any]
    seed: int
    answer_seed: int
    batch_size: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class JudgeCounts:
    """Numbers of a judge's replies under one rule, which are printed also where they are zero.

    Attributes:
        asked: answers that it was asked about; empty ones are not sent.
        unanswered: those of them without a reply: left out of all means.
        replies: to the others.
        unreadable: replies that could not be read: left out too.
    """

    asked: int
    unanswered: int
    replies: int
    unreadable: int


@dataclass(frozen=True)
class ScoredRule:
    """The scores by one rule, with their stamp, and the judge's replies where it has one."""

    stamp: Stamp
    score: SetScore
    judged: JudgeCounts | None = None


@dataclass(frozen=True)
class OverallScore:
    """Numbers out of the scores by several rules, of one medium and compat mode."""

    medium: str
    compat: str
    values: Mapping[str, float]


def stamp_of(
    benchmark: Benchmark,
    rule: Rule,
    medium: str,
    compat: str,
    answered: AnswerFile,
    judge: Mapping[str, Any],
    *,
    items: int,
    seed: int,
) -> Stamp:
    """The stamp of the scores of a medium by a rule, which scored ``items`` items of the set."""
    header, found = answered.header, answered.found
    has_judge = rule.judge is not None
    return Stamp(
        benchmark=benchmark.name,
        data_digest=found.digest,
        items=items,
        left_out=len(found.left_out),
        repeated=len(found.repeated),
        failures=sum(bool(answer.failure) for answer in answered.answers.values()),
        model=header.model,
        model_digest=header.model_digest,
        direction=f"{header.direction[0]}2{'t' if medium == 'text' else 's'}",
        medium=medium,
        limit=header.limit,
        shots=header.shots,
        recogniser=header.recogniser if medium == "speech" else "",
        rule=rule.name,
        rule_version=rule.version,
        compat=compat,
        normaliser=rule.normaliser,
        judge=str(judge.get("model", "")) if has_judge else "",
        judge_prompt=f"{rule.judge.name} {rule.judge.digest}" if rule.judge is not None else "",
        judge_parameters=dict(rule.judge.parameters) if rule.judge is not None else {},
        seed=seed,
        answer_seed=header.seed,
        batch_size=header.batch_size,
        settings=dict(header.settings),
    )
