"""Messages of a request: read, checked, and added to a conversation of the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from chatbot.engine import pcm
from chatbot.engine.context_window import Message as SaidMessage
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.voices import DEFAULT_VOICE, find_voice
from corpus.audio.files import Samples
from runtime.errors import UserError

from .errors import ApiError
from .messages import AssistantMessage, AudioOutput, Message, SystemMessage, TextPart, VoiceId
from .options import ServerOptions
from .replies import Replies
from .sound import decode_sound


@dataclass(frozen=True, eq=False, kw_only=True)
class Said:
    """One message that was said, its parts words or (S,) samples at 16 kHz."""

    role: Literal["user", "assistant"]
    content: list[str | Samples]


@dataclass(frozen=True, kw_only=True)
class RequestDialogue:
    """The messages of a request: how to answer, and what was said."""

    instructions: str
    said: list[Said]

    def check(self, options: ServerOptions) -> None:
        """Raise an `ApiError` unless this can be answered."""
        parts = [part for said in self.said for part in said.content]
        texts = [self.instructions, *(part for part in parts if isinstance(part, str))]
        num_characters = sum(map(len, texts))
        if num_characters > options.max_text_characters:
            message = f"{num_characters} characters of text; send at most {options.max_text_characters}"
            raise ApiError(400, message, param="messages", code="string_above_max_length")
        if not self.said or self.said[-1].role != "user":
            raise ApiError(400, "The last message must be the user's", param="messages", code="invalid_value")

    async def tell(self, conversation: Conversation) -> None:
        """Add all of it to ``conversation``."""
        for said in self.said:
            message = SaidMessage(role=said.role)
            await conversation.encode(message, said.content)
            conversation.insert(message)


async def read_dialogue(
    messages: list[Message], options: ServerOptions, replies: Replies, caller: str | None
) -> RequestDialogue:
    """Decode the audio of all messages and look up the replies they name.

    Raises:
        ApiError: too much of something, audio that cannot be read, a reply that is not remembered.
    """
    if len(messages) > options.max_messages:
        message = f"{len(messages)} messages; send at most {options.max_messages}"
        raise ApiError(400, message, param="messages", code="array_above_max_length")
    instructions: list[str] = []
    said: list[Said] = []
    seconds_left = options.max_audio_seconds
    for number, each in enumerate(messages):
        if isinstance(each, SystemMessage):
            instructions.append(joined(each.content))
        elif isinstance(each, AssistantMessage):
            text = joined(each.content or "")
            if each.audio is not None:
                text = replies.text_of(each.audio.id, caller)
            if text.strip():  # a reply of no words (it was cut at once) tells nothing
                said.append(Said(role="assistant", content=[text]))
        elif isinstance(each.content, str):
            said.append(Said(role="user", content=[each.content]))
        else:
            content: list[str | Samples] = []
            for at, part in enumerate(each.content):
                name = f"messages.{number}.content.{at}"
                if isinstance(part, TextPart):
                    content.append(part.text)
                    continue
                file = decode_base64(part.input_audio.data, f"{name}.input_audio.data")
                samples = await asyncio.to_thread(decode_sound, file, f"{name}.input_audio.data", seconds_left)
                seconds_left -= len(samples) / 16_000
                content.append(samples)
            said.append(Said(role="user", content=content))
    dialogue = RequestDialogue(instructions="\n".join(filter(str.strip, instructions)), said=said)
    dialogue.check(options)
    return dialogue


def joined(content: str | list[TextPart]) -> str:
    """The words of a message's content."""
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def decode_base64(text: str, name: str) -> bytes:
    """The bytes of base64 ``text``.

    Raises:
        ApiError: no base64; ``name`` is the field.
    """
    try:
        return pcm.decode_base64(text, name)
    except UserError as error:
        raise ApiError(400, f"{name}: no base64", param=name, code="invalid_base64") from error


def chosen_voice(voice: str | VoiceId, engine: Engine, name: str) -> str:
    """The engine's voice that a request asks for; ``default`` and the names of OpenAI's voices are its own.

    Raises:
        ApiError: no such voice; ``name`` is the field.
    """
    wanted = voice if isinstance(voice, str) else voice.id
    found = find_voice(wanted, engine.voices)
    if found is not None:
        return found
    known = ", ".join([*engine.voices, DEFAULT_VOICE])
    raise ApiError(400, f"No voice {wanted[:100]!r}; there are {known}", param=name, code="invalid_value")


def check_output(modalities: list[Literal["text", "audio"]] | None, audio: AudioOutput | None, stream: bool) -> bool:
    """Whether the reply is spoken.

    Raises:
        ApiError: 400, ``modalities`` and ``audio`` do not go together, or the format cannot be streamed.
    """
    is_spoken = "audio" in (modalities or ["text"])
    if is_spoken and audio is None:
        raise ApiError(400, "modalities has 'audio': send audio.voice and audio.format", param="audio", code="missing")
    if audio is not None and not is_spoken:
        message = "audio is given, but modalities lacks 'audio': send modalities=['text', 'audio']"
        raise ApiError(400, message, param="modalities", code="invalid_value")
    if is_spoken and stream and audio is not None and audio.format != "pcm16":
        message = f"audio.format {audio.format!r} cannot be streamed; send 'pcm16'"
        raise ApiError(400, message, param="audio.format", code="unsupported_value")
    return is_spoken
