"""Audio in the dialogues of others: messages that are recordings, or texts with a placeholder for each of them.

::

    {"conversations": [{"from": "user", "value": "a.wav", "type": "audio", "duration": 2.1}, ...]}      NeMo
    {"sound": "a.wav", "conversations": [{"from": "human", "value": "<sound> Who speaks?"}, ...]}       ShareGPT
    {"messages": [{"role": "user", "content": "<audio>Who speaks?"}, ...], "audios": ["a.wav"]}         LLaMA-Factory
    {"messages": [{"role": "user", "content": "<|AUDIO|>", "audios": [{"audio": "a.wav"}]}, ...]}       DeSTA
    {"messages": [{"role": "user", "content": [{"type": "audio", "audio": "a.wav"}, ...]}, ...]}        parts

Paths are relative to the file's folder. As many recordings as placeholders, or the whole file is refused: its clips
would be those of other questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.audio.segments import AudioSegment
from corpus.manifest import is_number

PLACEHOLDER = re.compile(r"<sound>|<speech>|<audio>|<\|AUDIO\|>")
RECORD_KEYS = ("audios", "sound", "speech", "ori_sound")  # of a record with a list of recordings, or one of them
FILE_KEYS = ("audio", "audio_url", "path", "url")  # of a recording that is an object

Parts = tuple[str | AudioSegment, ...]


class ClipCountError(ValueError):
    """Recordings and placeholders that differ in number."""


def recordings_of(record: Mapping[str, Any], keys: tuple[str, ...] = RECORD_KEYS) -> list[AudioSegment] | None:
    """The recordings that a record (or a message) lists; None where it has no list.

    Raises:
        ValueError: one that is no path.
    """
    listed = next((record[key] for key in keys if record.get(key) not in (None, "", [])), None)
    if listed is None:
        return None
    return [recording(one) for one in (listed if isinstance(listed, list) else [listed])]


def recording(value: Any) -> AudioSegment:
    """A path, or an object with one and perhaps ``offset`` and ``duration`` in seconds.

    Raises:
        ValueError: neither.
    """
    path, offset, duration = value, None, None
    if isinstance(value, Mapping):
        path = next((value[key] for key in FILE_KEYS if isinstance(value.get(key), str)), None)
        offset, duration = value.get("offset"), value.get("duration")
    if not isinstance(path, str) or not path or path.startswith(("http://", "https://", "data:")):
        raise ValueError("a recording that is no path of a file")
    for seconds in (offset, duration):
        if seconds is not None and not (is_number(seconds) and seconds >= 0):
            raise ValueError(f"a recording's offset or duration of {seconds!r}")
    return AudioSegment(Path(path), offset or None, duration or None)


def spread(texts: list[str], recordings: list[AudioSegment]) -> list[Parts]:
    """The parts of each text: its words, and recordings in place of the placeholders, in order.

    Raises:
        ClipCountError: more or fewer recordings than placeholders.
    """
    wanted = sum(len(PLACEHOLDER.findall(text)) for text in texts)
    if wanted != len(recordings):
        raise ClipCountError(f"{len(recordings)} recordings and {wanted} placeholders (<audio>, <sound>)")
    left = iter(recordings)
    found: list[Parts] = []
    for text in texts:
        parts: list[str | AudioSegment] = []
        for number, words in enumerate(PLACEHOLDER.split(text)):
            parts += [next(left)] if number else []
            parts += [words.strip()] if words.strip() else []
        found.append(tuple(parts))
    return found


def has_audio(parts: Parts) -> bool:
    """Whether a recording is among the parts."""
    return any(isinstance(part, AudioSegment) for part in parts)
