"""Reference answers of content tasks by a rule over the transcript's words, where a task has an exact answer.

| rule | reference |
|---|---|
| ``transcript`` | the transcript |
| ``word: N`` | the N-th word, from 1; from the end where N is negative |
| ``listed: [red, blue]`` | those of these words that the transcript has, in its order, each once, else ``none`` |
| ``begins_with: [who, what]`` | ``yes`` where the first word is one of these, else ``no`` |
| ``word_count`` | the number of words, in digits |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "none"


@dataclass(frozen=True)
class ReferenceRule:
    """A rule by its name and argument, as the task file states it."""

    name: str
    argument: Any = None

    def answer(self, transcript: str) -> str | None:
        """The reference answer about a transcript; None where it has none (no such word)."""
        words = transcript.split()
        return RULES[self.name].answer(words, self.argument) if words else None


@dataclass(frozen=True)
class RuleKind:
    """A kind of rule.

    Attributes:
        answer: the words of a transcript and the rule's argument -> the answer; None where there is none.
        is_argument: whether it is an argument that the rule takes.
        wanted: the arguments it takes, in words.
    """

    answer: Callable[[Sequence[str], Any], str | None]
    is_argument: Callable[[Any], bool]
    wanted: str


def read_rule(stated: Any) -> ReferenceRule:
    """The rule that a task file states: a name, or one name with its argument.

    Raises:
        ValueError: no such rule, or an argument that it does not take.
    """
    name, argument = next(iter(stated.items())) if isinstance(stated, dict) and len(stated) == 1 else (stated, None)
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"reference {stated!r} is no rule; there are {', '.join(RULES)}")
    if not RULES[name].is_argument(argument):
        raise ValueError(f"reference {name}: {argument!r} where it takes {RULES[name].wanted}")
    return ReferenceRule(name, argument)


def _word(words: Sequence[str], number: int) -> str | None:
    place = number - 1 if number > 0 else len(words) + number
    return words[place] if 0 <= place < len(words) else None


def _listed(words: Sequence[str], listed: Sequence[str]) -> str:
    found = dict.fromkeys(word for word in words if word.lower() in listed)
    return " ".join(found) or NOTHING


def _is_words(argument: Any) -> bool:
    return isinstance(argument, list) and bool(argument) and all(isinstance(one, str) for one in argument)


RULES = {
    "transcript": RuleKind(lambda words, _: " ".join(words), lambda given: given is None, "no argument"),
    "word": RuleKind(_word, lambda given: type(given) is int and given != 0, "a number other than 0"),
    "listed": RuleKind(_listed, _is_words, "a list of words in small letters"),
    "begins_with": RuleKind(
        lambda words, firsts: "yes" if words[0].lower() in firsts else "no", _is_words, "a list of words"
    ),
    "word_count": RuleKind(lambda words, _: str(len(words)), lambda given: given is None, "no argument"),
}
