"""Times of an utterance's words: their places in the text, and the times and rows of spans of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.text.capitals import small_letters
from runtime.errors import UserError
from text2token.spans.layout import Span

Element = TypeVar("Element", bound=np.generic)


class WordTime(NamedTuple):
    """A word and its time in the recording, as an aligner gives them (seconds)."""

    word: str
    begin: float
    end: float


class TimedWord(NamedTuple):
    """A word of a text: characters ``start`` to ``stop``, spoken from ``begin`` to ``end`` (seconds)."""

    start: int
    stop: int
    begin: float
    end: float


def read_times(path: str) -> dict[str, list[WordTime]]:
    """Id of an utterance -> its words with times.

    Raises:
        UserError: no such file, or a line of another form.
    """
    times = {}
    if not Path(path).is_file():
        raise UserError(path, found="no such file", remedy="give the words' times, one utterance a line")
    with Path(path).open("rb") as lines:
        for number, line in numbered_lines(lines):
            try:
                record = parse_json_line(line)
                times[str(record["id"])] = [
                    WordTime(str(word), float(begin), float(end)) for word, begin, end in record["words"]
                ]
            except (ValueError, KeyError, TypeError) as error:
                found, remedy = f"no record of words ({error})", 'write {"id": ..., "words": [[word, begin, end], ...]}'
                raise UserError(f"{path}, line {number}", found=found, remedy=remedy) from error
    return times


def locate_words(text: str, words: Sequence[WordTime]) -> list[TimedWord]:
    """The words with their places in the text.

    Raises:
        ValueError: a word that is not in the text (in order), or times that run backwards; the message names it.
    """
    located: list[TimedWord] = []
    lower, at, clock = small_letters(text), 0, 0.0
    for word, begin, end in words:
        start = lower.find(small_letters(word), at)
        if start < 0 or not word:
            raise ValueError(f"the word {word!r} is not in what is left of the text")
        if not clock - 1e-6 <= begin <= end:
            raise ValueError(f"the word {word!r} is spoken from {begin} to {end}, after {clock}")
        at, clock = start + len(word), end
        located.append(TimedWord(start, at, begin, end))
    return located


class TimedSpan(NamedTuple):
    """A span of a text and its time: from ``begin`` to ``end`` (seconds; None: the utterance's end)."""

    span: Span
    begin: float
    end: float | None


class RowRange(NamedTuple):
    """Rows ``begin`` to ``stop`` of an utterance's tokens or vectors."""

    begin: int
    stop: int


def time_span(span: Span, words: Sequence[TimedWord]) -> TimedSpan | None:
    """The time of a span: from the middle of the silence before it to the middle of that after it.

    Spans at the utterance's ends reach to its ends. None: a span without a timed word.
    """
    inside = [at for at, word in enumerate(words) if span.start < word.stop and word.start < span.end]
    if not inside:
        return None
    first, last = inside[0], inside[-1]
    begin = 0.0 if first == 0 else (words[first - 1].end + words[first].begin) / 2
    end = (words[last].end + words[last + 1].begin) / 2 if last + 1 < len(words) else None
    return TimedSpan(span, begin, end)


def cut_rows(span: TimedSpan, count: int, rate: float) -> RowRange:
    """The span's rows of ``count`` tokens or vectors, ``rate`` a second; none where it lies beyond them."""
    stop = count if span.end is None else min(round(span.end * rate), count)
    return RowRange(min(round(span.begin * rate), stop), stop)


def cut_speech(
    span: Span, words: Sequence[TimedWord], frames: npt.NDArray[Element], frame_rate: float
) -> npt.NDArray[Element]:
    """The speech tokens (T,) of a span, or whatever has a frame rate; none of a span without a timed word."""
    timed = time_span(span, words)
    if timed is None:
        return frames[:0]
    begin, stop = cut_rows(timed, len(frames), frame_rate)
    return frames[begin:stop]


def aligned_pieces(
    text: str, frames: npt.NDArray[Element], words: Sequence[TimedWord], spans: Sequence[Span], frame_rate: float
) -> list[str | npt.NDArray[Element]]:
    """Texts and speech of an utterance in turn; a span without frames stays text.

    Args:
        text: of the utterance.
        frames: its speech tokens, or whatever has a frame rate.
        words: their places and times.
        spans: of the text that become speech.
        frame_rate: frames a second.
    """
    pieces: list[str | npt.NDArray[Element]] = []
    at = 0
    for span in spans:
        inside = cut_speech(span, words, frames, frame_rate)
        if len(inside):
            pieces += [text[at : span.start], inside]
            at = span.end
    return [*pieces, text[at:]]
