"""Voice names of clients: the engine's own, and OpenAI's, which stand for its first."""

from __future__ import annotations

from collections.abc import Sequence

OPENAI_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
DEFAULT_VOICE = "default"


def find_voice(name: str, voices: Sequence[str]) -> str | None:
    """The engine's voice of a name; None where there is none."""
    if name in voices:
        return name
    return voices[0] if name == DEFAULT_VOICE or name in OPENAI_VOICES else None
