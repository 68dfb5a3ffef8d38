"""Arguments of a verifiable instruction, and the dialects in which the published checkers differ."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LESS_THAN, AT_LEAST = "less than", "at least"
RELATIONS = (LESS_THAN, AT_LEAST)

# default: our rule. google: IFEval's published checkers, which VoiceBench takes. bilingual: SpeechInstructBench's.
Dialect = Literal["default", "google", "bilingual"]


class ArgumentError(ValueError):
    """An instruction that cannot be checked: an argument is missing, or of another kind."""


@dataclass
class Arguments:
    """The arguments of one instruction.

    The published scripts drop arguments that are false in Python's sense (0, "", an empty list), and their checkers
    then draw a value at random. With ``draw`` that is done here, seeded; without it a missing argument is an error,
    and 0 is a value like others.

    Attributes:
        values: by name, as the set gives them.
        dialect: see above.
        draw: random numbers for the argument of a name.
        drawn: names of arguments that were drawn so far.
    """

    values: Mapping[str, Any]
    dialect: Dialect = "default"
    draw: Callable[[str], random.Random] | None = None
    drawn: list[str] = field(default_factory=list)

    def number(self, name: str, low: int, high: int) -> int:
        """A whole number; drawn from ``low`` to ``high``, both included."""
        value = self._value(name)
        if value is None:
            return self._random(name).randint(low, high)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise ArgumentError(f"{name} is {value!r}, no whole number")
        return int(value)

    def text(self, name: str, choices: Sequence[str]) -> str:
        """A text; drawn from ``choices``."""
        value = self._value(name)
        if value is None:
            return self._random(name).choice(list(choices))
        if not isinstance(value, str):
            raise ArgumentError(f"{name} is {value!r}, no text")
        return value

    def texts(self, name: str, choices: Sequence[str], count: int) -> list[str]:
        """A list of texts; ``count`` of ``choices`` are drawn."""
        value = self._value(name)
        if value is None:
            return self._random(name).sample(list(choices), count)
        if isinstance(value, str) or not all(isinstance(one, str) for one in value):
            raise ArgumentError(f"{name} is {value!r}, no list of texts")
        return list(value)

    def compare(self, found: int, wanted: int, name: str) -> bool:
        """Whether a number found stands in the relation ``name`` to the wanted one."""
        relation = self.text(name, RELATIONS)
        if relation not in RELATIONS:
            raise ArgumentError(f"{name} is {relation!r}, neither {' nor '.join(map(repr, RELATIONS))}")
        return found < wanted if relation == LESS_THAN else found >= wanted

    def _value(self, name: str) -> Any:
        value = self.values.get(name)
        return None if self.draw is not None and not value else value

    def _random(self, name: str) -> random.Random:
        if self.draw is None:
            raise ArgumentError(f"{name} is missing")
        self.drawn.append(name)
        return self.draw(name)


Checker = Callable[[str, Arguments], bool]
