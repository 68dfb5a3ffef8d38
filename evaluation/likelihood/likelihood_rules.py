"""Rules that choose a candidate by its log-likelihood.

::

    sequence            mean per token over context and continuation: slamkit's ``mean_nll: true``
    continuation        mean per token over the continuation
    continuation_sum    sum over the continuation: the probability of the ending (lm-evaluation-harness's ``acc``)

A tie is shared: two candidates of equal value count 0.5. Values are compared as they are kept, to six digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evaluation.rules.measure import ItemScore, Measure

TIE, NOTHING, FAILED = "tie", "no token to score", "no answer"


class PartLikelihood(NamedTuple):
    """Sum of log-probabilities in nats and number of a part's tokens; its marks (BOA, EOA, EOS) apart."""

    sum: float
    tokens: int
    mark_sum: float = 0.0
    marks: int = 0

    def total(self, *parts: PartLikelihood, has_marks: bool) -> tuple[float, int]:
        """Sum and number over this part and others, with or without marks."""
        every = (self, *parts)
        if has_marks:
            return sum(one.sum + one.mark_sum for one in every), sum(one.tokens + one.marks for one in every)
        return sum(one.sum for one in every), sum(one.tokens for one in every)


class CandidateLikelihood(NamedTuple):
    """The log-likelihood of a candidate's sequence, context and continuation apart."""

    context: PartLikelihood
    continuation: PartLikelihood


@dataclass(frozen=True, kw_only=True)
class LikelihoodRule:
    """A rule that values a candidate.

    Attributes:
        name: unique.
        value: of a candidate and whether marks count: the greater, the better; None where there is no token.
        headline: the only measure.
        scale: by which the accuracy is multiplied for printing.
        version: raised when the rule's scores change.
    """

    name: str
    value: Callable[[CandidateLikelihood, bool], float | None]
    headline: str = "accuracy"
    scale: float = 100.0
    version: int = 1

    def score(self, candidates: Sequence[CandidateLikelihood], correct: int, *, has_marks: bool) -> ItemScore:
        """1 where the right candidate is the likeliest, a share where it is so with others, else 0.

        Where some candidate has no token to score none can be chosen: chance is counted, with a note.
        """
        values = [self.value(candidate, has_marks) for candidate in candidates]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return ItemScore({"accuracy": Measure(1 / len(values))}, NOTHING)
        known = [round(value, 6) for value in known]
        best, right = max(known), known[correct]
        others = [value for at, value in enumerate(known) if at != correct]
        share = 1 / known.count(best) if right == best else 0.0
        details = {"margin": round(right - max(others), 6)}
        return ItemScore({"accuracy": Measure(share)}, TIE if known.count(best) > 1 else "", details)


def _sequence(candidate: CandidateLikelihood, has_marks: bool) -> float | None:
    total, tokens = candidate.context.total(candidate.continuation, has_marks=has_marks)
    return total / tokens if tokens else None


def _continuation(candidate: CandidateLikelihood, has_marks: bool) -> float | None:
    total, tokens = candidate.continuation.total(has_marks=has_marks)
    return total / tokens if tokens else None


def _continuation_sum(candidate: CandidateLikelihood, has_marks: bool) -> float | None:
    total, tokens = candidate.continuation.total(has_marks=has_marks)
    return total if tokens else None


RULES: Mapping[str, LikelihoodRule] = {
    rule.name: rule
    for rule in (
        LikelihoodRule(name="sequence", value=_sequence),
        LikelihoodRule(name="continuation", value=_continuation),
        LikelihoodRule(name="continuation_sum", value=_continuation_sum),
    )
}
