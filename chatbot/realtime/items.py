"""Conversation items of the Realtime protocol: messages of the engine with an id, a status and content parts.

S samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chatbot.engine.context_window import Message, Role
from chatbot.engine.pcm import Resampler, decode_base64, decode_pcm16, encode_base64, encode_pcm16
from corpus.audio.files import SAMPLE_RATE, Samples
from runtime.errors import UserError

from .client_events import ItemObject, PartObject
from .formats import FORMATS
from .ids import new_id
from .refusal import Refusal

Status = Literal["completed", "incomplete", "in_progress"]
ROLE_PARTS = {"user": ("input_text", "input_audio"), "assistant": ("output_text",), "system": ("input_text",)}


@dataclass(kw_only=True, eq=False)
class ContentPart:
    """One part of a message.

    Attributes:
        kind: "input_text", "input_audio", "output_text" or "output_audio".
        text: what is written; of sound, its transcript as far as there is one.
        pcm: (S,) the user's speech at 16 kHz as 16-bit numbers; None where it isn't kept.
        seconds: of speech.
    """

    kind: str
    text: str | None = None
    pcm: npt.NDArray[np.int16] | None = None
    seconds: float = 0.0

    @property
    def is_audio(self) -> bool:
        """Whether it is speech."""
        return self.kind.endswith("audio")

    def samples(self) -> Samples:
        """(S,) the speech kept."""
        assert self.pcm is not None
        return decode_pcm16(self.pcm.tobytes())

    def to_json(self, *, wire_format: str | None = None) -> dict[str, Any]:
        """As the protocol writes it; with the user's speech where ``wire_format`` says how."""
        if not self.is_audio:
            return {"type": self.kind, "text": self.text or ""}
        written: dict[str, Any] = {"type": self.kind, "transcript": self.text}
        if wire_format is not None and self.pcm is not None:
            wire = FORMATS[wire_format]
            resampler = Resampler(SAMPLE_RATE, wire.rate)
            sound = np.concatenate([resampler.feed(self.samples()), resampler.finish()])
            written["audio"] = encode_base64(wire.encode(sound))
        return written


@dataclass(kw_only=True, eq=False)
class Item(Message):
    """One message as the client sees it too.

    Attributes:
        parts: of its content.
        id: by which the client names it.
        status: of a reply, whether it is whole.
    """

    parts: list[ContentPart]
    id: str = field(default_factory=lambda: new_id("item"))
    status: Status = "completed"

    def to_json(self, *, wire_format: str | None = None) -> dict[str, Any]:
        """As the protocol writes it, without sound unless ``wire_format`` is given."""
        content = [part.to_json(wire_format=wire_format) for part in self.parts]
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "status": self.status,
            "role": self.role,
            "content": content,
        }


def spoken_item(item_id: str, samples: Samples) -> Item:
    """The item of a spoken turn, (S,) at 16 kHz."""
    pcm = np.frombuffer(encode_pcm16(samples), dtype="<i2")
    part = ContentPart(kind="input_audio", pcm=pcm, seconds=len(samples) / SAMPLE_RATE)
    return Item(id=item_id, role="user", parts=[part])


def make_item(wanted: ItemObject, wire_format: str, max_seconds: float) -> Item:
    """The item that a ``conversation.item.create`` describes.

    Args:
        wanted: the ``item`` object.
        wire_format: of speech in it.
        max_seconds: of speech in one part.

    Raises:
        Refusal: parts that its role cannot have, no words, or audio that cannot be decoded or is too long.
    """
    parts = [
        make_part(part, f"item.content[{number}]", wanted.role, wire_format, max_seconds)
        for number, part in enumerate(wanted.content)
    ]
    return Item(id=wanted.id or new_id("item"), role=wanted.role, parts=parts)


def make_part(wanted: PartObject, path: str, role: Role, wire_format: str, max_seconds: float) -> ContentPart:
    """One part of an item that the client made; ``path`` names it in errors."""
    if wanted.type not in ROLE_PARTS[role]:
        allowed = " or ".join(map(repr, ROLE_PARTS[role]))
        raise Refusal.invalid_value(f"{path}.type", f"{wanted.type[:80]!r} in a message of the {role}", allowed)
    needed = "audio" if wanted.type.endswith("audio") else "text"
    if getattr(wanted, needed) is None:
        name = f"{path}.{needed}"
        raise Refusal(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    if wanted.audio is not None and needed == "audio":
        sound = decode_sound(wanted.audio, f"{path}.audio", wire_format, max_seconds)
        pcm = np.frombuffer(encode_pcm16(sound), dtype="<i2")
        return ContentPart(kind=wanted.type, text=wanted.transcript, pcm=pcm, seconds=len(sound) / SAMPLE_RATE)
    if not (wanted.text or "").strip():
        raise Refusal.invalid_value(f"{path}.text", "no words", "some")
    return ContentPart(kind=wanted.type, text=wanted.text)


def decode_sound(encoded: str, path: str, wire_format: str, max_seconds: float) -> Samples:
    """Speech in base64 as (S,) at 16 kHz."""
    wire = FORMATS[wire_format]
    try:
        data = decode_base64(encoded, path)
        seconds = len(data) / wire.sample_bytes / wire.rate
        if seconds > max_seconds:
            raise Refusal.invalid_value(path, f"{seconds:.1f} s", f"at most {max_seconds:.1f} s")
        samples = wire.decode(data)
    except UserError as error:
        raise Refusal.of(error, code="invalid_audio", param=path) from error
    resampler = Resampler(wire.rate, SAMPLE_RATE)
    return np.concatenate([resampler.feed(samples), resampler.finish()])
