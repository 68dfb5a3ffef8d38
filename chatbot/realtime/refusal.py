"""Errors of the Realtime protocol that answer a client event: the ``error`` event, and pydantic's errors as such."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from runtime.errors import UserError

UNSUPPORTED = "unsupported_parameter"
JSON_TYPES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}
# Pydantic's type errors, by the JSON type that was expected.
EXPECTED_TYPES = {
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dict_type": "an object",
    "list_type": "an array",
    "string_type": "a string",
    "bool_type": "a boolean",
    "int_type": "an integer",
    "float_type": "a number",
}


class Refusal(Exception):  # noqa: N818 (the protocol's noun is "error event"; this one is an answer, not a failure)
    """A client event that cannot be done; the session goes on.

    Args:
        message: the fault and its remedy.
        code: the protocol's short name of it, e.g. "invalid_value".
        param: the field at fault, e.g. "session.audio.input.format".
        kind: "invalid_request_error" (the client's fault) or "server_error".
        event_id: the client's own id of the event at fault.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        param: str | None = None,
        kind: str = "invalid_request_error",
        event_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.param, self.kind, self.event_id = message, code, param, kind, event_id

    @classmethod
    def of(cls, error: UserError, *, code: str = "invalid_value", param: str | None = None) -> Refusal:
        """A `UserError` as a refusal."""
        return cls(str(error), code=code, param=param)

    @classmethod
    def invalid_value(cls, param: str, found: str, expected: str) -> Refusal:
        """The refusal of a field of the right type whose value is out of place."""
        text = f"Invalid value for '{param}': found {found}, expected {expected}."
        return cls(text, code="invalid_value", param=param)

    def to_json(self) -> dict[str, object]:
        """The ``error`` field of an ``error`` event."""
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": self.event_id,
        }


def json_type(value: object) -> str:
    """JSON's name of the type of ``value``."""
    return "null" if value is None else JSON_TYPES.get(type(value), type(value).__name__)


def field_path(location: Sequence[int | str]) -> str:
    """Pydantic's location of a field as the protocol writes it, e.g. ``item.content[0].text``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def refusal_of(error: ValidationError) -> Refusal:
    """The first error that pydantic found (in the order of the model's fields, unknown ones last) as a refusal."""
    first = error.errors(include_url=False)[0]
    kind, found, name = first["type"], first["input"], field_path(first["loc"])[:200]
    expected = EXPECTED_TYPES.get(kind, "a string" if kind == "literal_error" and not isinstance(found, str) else "")
    if kind == "missing" or (expected and found is None):
        return Refusal(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    if kind == "extra_forbidden":
        return Refusal(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    if kind == UNSUPPORTED:
        return Refusal(f"Unsupported parameter: '{name}': {first['msg']}.", code=UNSUPPORTED, param=name)
    if expected:
        text = f"Invalid type for '{name}': expected {expected}, but got {json_type(found)} instead."
        return Refusal(text, code="invalid_type", param=name)
    message = first["msg"] if kind == "invalid_value" else f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    return Refusal(f"Invalid value for '{name}': {message}.", code="invalid_value", param=name)
