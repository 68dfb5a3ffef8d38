"""Check of server events against the types of the ``openai`` package, field by field.

The package's own parser is lenient. Here every field must be known to the type, of its type, and every field that the
type wants must be there. What the real service sends beyond those types (``session.id``, ``object``, ``expires_at``) is
checked by the type that has it, ``RealtimeSessionCreateResponse``.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from chatbot.realtime.outbox import Event, Outbox

SESSION_EXTRAS = ("id", "object", "expires_at")


@cache
def event_types() -> dict[str, type[BaseModel]]:
    """The class of each event type."""
    from openai.types.realtime import RealtimeServerEvent

    union = get_args(RealtimeServerEvent)[0]
    return {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(union)}


@cache
def adapter() -> TypeAdapter[Any]:
    """The whole union as the package defines it."""
    from openai.types.realtime import RealtimeServerEvent

    return TypeAdapter(RealtimeServerEvent)


def check_server_event(event: dict[str, Any]) -> None:
    """Raise an `AssertionError` unless ``event`` is one of the package's server events, without any other field."""
    from openai.types.realtime import RealtimeSessionCreateResponse

    kind = event.get("type")
    assert kind in event_types(), f"no server event of type {kind!r}"
    plain = dict(event)
    if kind in ("session.created", "session.updated"):
        RealtimeSessionCreateResponse.model_validate(event["session"], strict=True)
        plain["session"] = {name: value for name, value in event["session"].items() if name not in SESSION_EXTRAS}
    adapter().validate_python(plain, strict=True)
    unknown = unknown_fields(plain, event_types()[kind])
    assert not unknown, f"{kind}: fields that the type does not have: {', '.join(unknown)}"


def unknown_fields(value: Any, annotation: Any, path: str = "") -> list[str]:
    """Fields of ``value`` that no variant of the type has; of a union, as its best variant sees it."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return unknown_fields(value, get_args(annotation)[0], path)
    if origin in (Union, types.UnionType):
        found = [unknown_fields(value, variant, path) for variant in get_args(annotation) if fits(value, variant)]
        return min(found, key=len) if found else [path]
    if origin is list and isinstance(value, list):
        inner = get_args(annotation)[0]
        return [name for number, item in enumerate(value) for name in unknown_fields(item, inner, f"{path}[{number}]")]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, dict):
        names = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        unknown = [f"{path}.{name}" for name in value if name not in names]
        known = [(name, inner) for name, inner in value.items() if name in names]
        return unknown + [
            each for name, inner in known for each in unknown_fields(inner, names[name], f"{path}.{name}")
        ]
    return []


def fits(value: Any, annotation: Any) -> bool:
    """Whether a variant of a union may be meant."""
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValueError:
        return False
    return True


class CheckedOutbox(Outbox):
    """An outbox that refuses events which the ``openai`` package would not understand."""

    async def emit(self, event: Event) -> None:
        check_server_event({"event_id": "event_1", **event})
        await super().emit(event)
