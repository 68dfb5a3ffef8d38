"""Ratings of answers by a judge: an LLM behind an OpenAI-compatible endpoint, its raw replies kept in a journal.

An answer is rated from 1 to 5 against the task's reference (`evaluation.rules.ratings.SEMI_OPEN`, three samples); its
score is their mean, 1 as 0 and 5 as 1. An empty answer has 0 and is not judged; one without a readable rating has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evaluation.rules.ratings import SEMI_OPEN
from evaluation.rules.rule import Answered
from evaluation.sets.item import EvaluationItem
from runtime.artefact import fingerprint
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, FailureTally
from runtime.journal import Journal
from runtime.stage import Run

from .config import BenchmarkConfig

JUDGEMENTS = "judged.jsonl"
LOWEST, HIGHEST = 1.0, 5.0  # of the rule's scale


class JudgedAnswer(NamedTuple):
    """An answer to be rated.

    Attributes:
        name: unique in a run.
        request: what was asked, with the transcript.
        reference: the reference answer.
        answer: the model's.
    """

    name: str
    request: str
    reference: str
    answer: str


class AnswerJudge:
    """A judge and its replies so far.

    Args:
        config: ``judge``, ``judge_model`` and ``requests`` are read.
        run: its folder keeps the replies.

    Attributes:
        digest: of the prompt and the judge's name.
        unjudged: answers without a readable rating.
    """

    def __init__(self, config: BenchmarkConfig, run: Run) -> None:
        assert SEMI_OPEN.judge is not None
        self.run, self.prompt, self.max_failed_share = run, SEMI_OPEN.judge, config.requests.max_failed_share
        options = ("judge", "judge_model")
        self.endpoint = ChatEndpoint(config.judge, config.judge_model, config.requests, options)
        self.digest = fingerprint([self.prompt.digest, config.judge_model])
        self.unjudged = 0

    def scores(self, answers: Sequence[JudgedAnswer], condition: str) -> list[float | None]:
        """The score of each answer, None where it has none; those of earlier calls are not asked again.

        Raises:
            UserError: the endpoint refuses, or too many requests stay without an answer.
        """
        with Journal(self.run.folder / JUDGEMENTS) as journal:
            done = {str(record["name"]) for record in journal.records}
            judged = [one for one in answers if one.answer.strip()]
            asked = [one for one in judged if self._name(one) not in done]
            share, lacking = self.max_failed_share, "answers were not judged"
            tally = FailureTally(self.endpoint.url, lacking, share, len(judged) - len(asked))
            requests = (ChatRequest(self._name(one), self._messages(one), self.prompt.parameters) for one in asked)
            with self.run.progress(len(asked), f"{condition}, judged", unit="answer") as bar:
                for failure in self.endpoint.complete_all(requests, journal):
                    bar.update()
                    tally.add(failure)
            tally.check()
        with Journal(self.run.folder / JUDGEMENTS) as journal:
            replies = {str(record["name"]): tuple(map(str, record["texts"])) for record in journal.records}
        found = [self._score(one, replies.get(self._name(one), ())) for one in answers]
        self.unjudged += sum(score is None for score in found)
        return found

    def _name(self, one: JudgedAnswer) -> str:
        """Another prompt, judge, reference or answer is another request."""
        return f"{one.name} {fingerprint([self.digest, one.request, one.reference, one.answer])}"

    def _messages(self, one: JudgedAnswer) -> list[dict[str, object]]:
        return self.prompt.messages(item_of(one), one.answer)

    def _score(self, one: JudgedAnswer, replies: tuple[str, ...]) -> float | None:
        measured = SEMI_OPEN.score(item_of(one), Answered(one.answer, judgements=replies)).measures.get("rating")
        return None if measured is None else (measured.total / measured.weight - LOWEST) / (HIGHEST - LOWEST)


def item_of(one: JudgedAnswer) -> EvaluationItem:
    """The request as an item of an evaluation set."""
    return EvaluationItem(id=one.name, prompt=one.request, references=(one.reference,))
