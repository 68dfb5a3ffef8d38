"""Reading a client's JSON: fields by name and type, with refusals that name the field.

fields = Fields(value, "session.audio.input")
threshold = fields.number("threshold", 0.5, low=0, high=1)
fields.end()                                    # refuses what nobody asked for
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from .refusal import Refusal

KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a number"}


def kind_of(value: object) -> str:
    """What JSON calls the type of ``value``."""
    return "null" if value is None else KINDS.get(type(value), type(value).__name__)


class Fields:
    """One JSON object.

    Args:
        value: what should be an object.
        path: where it stands in the message, e.g. "session.audio"; empty for the message itself.

    Raises:
        Refusal: ``value`` is no object.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise wrong_type(path or "event", "an object", value)
        self.values: dict[str, Any] = value
        self.path = path
        self.asked: set[str] = set()

    def name(self, field: str) -> str:
        """Where ``field`` stands in the message."""
        return f"{self.path}.{field}" if self.path else field

    def __contains__(self, field: str) -> bool:
        self.asked.add(field)
        return field in self.values

    def raw(self, field: str) -> Any:
        """The value as it is; None where there is none."""
        self.asked.add(field)
        return self.values.get(field)

    def require(self, field: str) -> Any:
        """The value, which must be there and not null."""
        value = self.raw(field)
        if value is None:
            name = self.name(field)
            raise Refusal(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
        return value

    def text(self, field: str, default: str | None = None, *, longest: int | None = None) -> str:
        """A string; required where there is no default."""
        value = self.require(field) if default is None else self.raw(field)
        if value is None:
            assert default is not None
            return default
        if not isinstance(value, str):
            raise wrong_type(self.name(field), "a string", value)
        if longest is not None and len(value) > longest:
            raise self.bad(field, f"{len(value)} characters", f"at most {longest} characters")
        return value

    def optional_text(self, field: str, *, longest: int = 512) -> str | None:
        """A string or null."""
        return None if self.raw(field) is None else self.text(field, longest=longest)

    def number(self, field: str, default: float, *, low: float, high: float) -> float:
        """A finite number between ``low`` and ``high``."""
        value = self.raw(field)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(self.name(field), "a number", value)
        if not math.isfinite(value) or not low <= value <= high:
            raise self.bad(field, repr(value), f"a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, field: str, default: int | None = None, *, low: int, high: int) -> int:
        """An integer between ``low`` and ``high``; required where there is no default."""
        value = self.require(field) if default is None else self.raw(field)
        if value is None:
            assert default is not None
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(self.name(field), "an integer", value)
        if not low <= value <= high:
            raise self.bad(field, str(value)[:40], f"an integer from {low} to {high}")
        return value

    def boolean(self, field: str, default: bool) -> bool:
        """True or false."""
        value = self.raw(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong_type(self.name(field), "a boolean", value)
        return value

    def choice(self, field: str, options: Collection[str], default: str | None = None) -> str:
        """One of ``options``."""
        value = self.text(field, default)
        if value not in options:
            raise self.bad(field, repr(value[:80]), "one of " + ", ".join(map(repr, options)))
        return value

    def objects(self, field: str) -> list[Fields]:
        """An array of objects, which must be there."""
        value = self.require(field)
        if not isinstance(value, list):
            raise wrong_type(self.name(field), "an array", value)
        return [Fields(item, f"{self.name(field)}[{number}]") for number, item in enumerate(value)]

    def object(self, field: str) -> Fields | None:
        """An object; None where there is none."""
        value = self.raw(field)
        return None if value is None else Fields(value, self.name(field))

    def ignore(self, *fields: str) -> None:
        """Accept fields that change nothing here."""
        self.asked.update(fields)

    def refuse(self, field: str, why: str, *, unless: tuple[Any, ...] = (None,)) -> None:
        """Refuse a field that this server can't serve, unless it holds one of the values that ask for nothing."""
        value = self.raw(field)
        if not any(value == harmless and type(value) is type(harmless) for harmless in unless):
            name = self.name(field)
            raise Refusal(f"Unsupported parameter: '{name}': {why}.", code="unsupported_parameter", param=name)

    def bad(self, field: str, found: str, expected: str) -> Refusal:
        """The refusal of a value of the right type."""
        name = self.name(field)
        return Refusal(
            f"Invalid value for '{name}': found {found}, expected {expected}.", code="invalid_value", param=name
        )

    def end(self) -> None:
        """Refuse the fields that nobody asked for."""
        for field in self.values:
            if field not in self.asked:
                name = self.name(field)[:200]
                raise Refusal(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)


def wrong_type(name: str, expected: str, value: object) -> Refusal:
    """The refusal of a value of the wrong type."""
    message = f"Invalid type for '{name}': expected {expected}, but got {kind_of(value)} instead."
    return Refusal(message, code="invalid_type", param=name)
