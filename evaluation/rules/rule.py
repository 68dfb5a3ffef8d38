"""A scoring rule, what it may look at, and the prompt of a judge where it needs one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evaluation.sets.item import EvaluationItem
from runtime.artefact import fingerprint

from .measure import ItemScore, MeanScore

Compat = Literal["default", "official"]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Answered:
    """An answer as a rule sees it.

    Attributes:
        text: what is scored: the written reply, or the transcript of the spoken one.
        judgements: raw replies of the judge, one for each sample; empty for rules without a judge.
        compat: "official" reproduces the published script with its quirks, "default" is our rule.
        seed: of the random choice that official scripts make; the item's id is added.
        written: the written reply, also where ``text`` is the transcript of the spoken one; "" where there is none.
    """

    text: str
    judgements: tuple[str, ...] = ()
    compat: Compat = "default"
    seed: int = 1
    written: str = ""

    def draw(self, item: EvaluationItem, rule: str) -> random.Random:
        """The random numbers of an item under a rule: the same in every call, whatever the order of items."""
        return random.Random(f"{self.seed} {rule} {item.id}")


@dataclass(frozen=True, kw_only=True)
class JudgePrompt:
    """The prompt of a judge.

    Attributes:
        name: of the prompt.
        template: its text, with ``{field}`` for what `fields` gives.
        fields: of an item and an answer's text.
        system: system message; "" for none.
        parameters: of the request: temperature, top_p, n, max_tokens.
    """

    name: str
    template: str
    fields: Callable[[EvaluationItem, str], Mapping[str, str]]
    system: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def messages(self, item: EvaluationItem, text: str) -> Messages:
        """The messages of the request. Braces in the fields stay as they are."""
        asked = self.template
        parts = {f"{{{name}}}": value for name, value in self.fields(item, text).items()}
        # One pass from left to right, so that a field's text is never taken for a placeholder.
        pieces, rest = [], asked
        while True:
            places = [(rest.index(mark), mark) for mark in parts if mark in rest]
            if not places:
                break
            at, mark = min(places)
            pieces += [rest[:at], parts[mark]]
            rest = rest[at + len(mark) :]
        user = {"role": "user", "content": "".join([*pieces, rest])}
        return [{"role": "system", "content": self.system}, user] if self.system else [user]

    @property
    def digest(self) -> str:
        """Identity of system message, template and parameters: part of a score's stamp."""
        return fingerprint({"system": self.system, "template": self.template, "parameters": dict(self.parameters)})


def always(item: EvaluationItem) -> bool:
    """Every item."""
    return True


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A scoring rule.

    Attributes:
        name: unique among a benchmark's rules.
        score: an item and an answer -> its score. Raises nothing: what cannot be scored has a note.
        headline: the measure that is printed first.
        scale: by which the headline is multiplied for printing (100: per cent).
        judge: prompt of the judge; None for rules that need none.
        has_official: whether ``compat="official"`` differs from the default.
        normaliser: name of the text normalisation, for the stamp.
        version: raised when the rule's scores change.
        applies: items of a set that the rule scores.
        media: of a reply that the rule scores.
        combine: further numbers out of the means over the set.
        answer_key: under which the published script keeps answers, where it is not the item: with
            ``compat="official"`` items of one key are scored by the answer of the last of them.
    """

    name: str
    score: Callable[[EvaluationItem, Answered], ItemScore]
    headline: str = "accuracy"
    scale: float = 100.0
    judge: JudgePrompt | None = None
    has_official: bool = False
    normaliser: str = ""
    version: int = 1
    applies: Callable[[EvaluationItem], bool] = always
    media: tuple[str, ...] = ("text", "speech")
    combine: Callable[[Mapping[str, MeanScore]], Mapping[str, float]] | None = None
    answer_key: Callable[[EvaluationItem], str] | None = None

    def only(self, applies: Callable[[EvaluationItem], bool], name: str = "", scale: float | None = None) -> Rule:
        """The rule for some items of a set, under a name (and a scale) of its own where a set needs it twice."""
        scale = self.scale if scale is None else scale
        return replace(self, applies=applies, name=name or self.name, scale=scale)
