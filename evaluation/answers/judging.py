"""Judgement of a run of answers: the requests of all rules that have a judge, and the header for the stamp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.rules.rule import Rule
from runtime.artefact import write_json
from runtime.chat_endpoint import ChatEndpoint
from runtime.errors import UserError
from runtime.stage import Run

from .answer_file import read_answers
from .config import JudgeConfig
from .judgements import judge_answers, requests

HEADER = "judge.json"


def judge(config: JudgeConfig, run: Run) -> dict[str, Any]:
    """Request all judgements; returns how many there are, and their tokens."""
    benchmark = BENCHMARKS[config.benchmark]
    rules = [rule for rule in chosen_rules(benchmark, config.rules) if rule.judge is not None]
    if not rules:
        remedy = f"it has {', '.join(rule.name for rule in benchmark.rules)}"
        raise UserError(f"benchmark {benchmark.name}", found="no rule that needs a judge", remedy=remedy)
    answered = read_answers(config.answers, benchmark, config.data, config.max_bad_share)
    endpoint = ChatEndpoint(config.url, config.model, config.requests)
    total = sum(1 for _ in requests(answered, rules, config.media, set()))
    with run.progress(total, "judgements", unit="answer") as bar:
        judged = judge_answers(
            answered,
            rules,
            config.media,
            endpoint,
            folder=run.folder,
            bar=bar,
            max_failed_share=config.requests.max_failed_share,
        )
    digests = {rule.name: rule.judge.digest for rule in rules if rule.judge is not None}
    said = {"answers": answered.digest, "prompts": digests}
    write_json(run.folder / HEADER, {"url": config.url, "model": config.model} | said)
    for reason, count in judged.failures.items():
        run.say(f"not judged: {count} of {total} answers: {reason}")
    return {
        "judgements": len(judged.replies),
        "failures": sum(judged.failures.values()),
        "prompt_tokens": judged.prompt_tokens,
        "completion_tokens": judged.completion_tokens,
    }


def chosen_rules(benchmark: Benchmark, names: Sequence[str]) -> list[Rule]:
    """The rules of those names, or all.

    Raises:
        UserError: the benchmark has no rule of a name.
    """
    known = {rule.name: rule for rule in benchmark.rules}
    for name in names:
        if name not in known:
            found = f"benchmark {benchmark.name} has no rule {name!r}"
            raise UserError("option rules", found=found, remedy=f"choose from {', '.join(known)}")
    return [known[name] for name in names] if names else list(benchmark.rules)
