"""Raw replies of a judge to the answers of a run, one request an item and rule, kept in a journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.rules.rule import Rule
from evaluation.sets.item import EvaluationItem
from runtime.artefact import write_text
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, FailureTally
from runtime.journal import Journal
from runtime.progress import Progress

from .answer_file import AnswerFile

JOURNAL = "judgements.jsonl"


@dataclass(frozen=True)
class Judgements:
    """Replies of a judge, and their cost.

    Attributes:
        replies: raw texts by `request_name`.
        failures: reasons of requests without an answer, with their numbers.
        prompt_tokens: as the endpoint counts them.
        completion_tokens: likewise.
    """

    replies: Mapping[str, tuple[str, ...]]
    failures: Mapping[str, int]
    prompt_tokens: int = 0
    completion_tokens: int = 0


def request_name(item: EvaluationItem, rule: Rule, medium: str) -> str:
    """The name of a request in the journal; another prompt is another request."""
    assert rule.judge is not None
    return f"{medium}/{rule.name}/{rule.judge.digest}/{item.id}"


def judge_answers(
    answered: AnswerFile,
    rules: Sequence[Rule],
    media: Sequence[str],
    endpoint: ChatEndpoint,
    *,
    folder: Path,
    bar: Progress,
    max_failed_share: float,
) -> Judgements:
    """Ask the judge for all that the journal in ``folder`` lacks.

    Raises:
        UserError: the endpoint refuses, or more than ``max_failed_share`` of the requests stay without an answer.
    """
    names = [request.name for request in requests(answered, rules, media, set())]
    with Journal(folder / JOURNAL) as journal:
        done = {str(record["name"]) for record in journal.records}.intersection(names)
        tally = FailureTally(endpoint.url, "answers were not judged", max_failed_share, len(done))
        bar.update(len(done))
        for failure in endpoint.complete_all(requests(answered, rules, media, done), journal):
            bar.update()
            tally.add(failure)
        tally.check()
        records = {str(record["name"]): record for record in journal.records}
    # In the order of the requests, not of the replies: the same bytes, whatever was asked at once or after a kill.
    lines = [json.dumps(records[name], ensure_ascii=False) + "\n" for name in names if name in records]
    write_text(folder / JOURNAL, "".join(lines))
    return read_judgements(folder, tally.failures)


def requests(
    answered: AnswerFile, rules: Sequence[Rule], media: Sequence[str], done: set[str]
) -> Iterator[ChatRequest]:
    """The requests that are not answered yet. An empty answer is not judged: rules score it by themselves."""
    for medium in media:
        for rule in (rule for rule in rules if medium in rule.media):
            for item in filter(rule.applies, answered.found.items):
                text = answered.answers[item.id].said(medium)
                name = request_name(item, rule, medium) if rule.judge else ""
                if rule.judge is not None and text and text.strip() and name not in done:
                    yield ChatRequest(name, rule.judge.messages(item, text), rule.judge.parameters)


def read_judgements(folder: Path, failures: Mapping[str, int] | None = None) -> Judgements:
    """The replies in a folder's journal; none where there is no journal."""
    if not (folder / JOURNAL).is_file():
        return Judgements({}, {})
    with Journal(folder / JOURNAL) as journal:
        records = journal.records
    return Judgements(
        {str(record["name"]): tuple(map(str, record["texts"])) for record in records},
        dict(failures or {}),
        sum(int(record["prompt_tokens"]) for record in records),
        sum(int(record["completion_tokens"]) for record in records),
    )
