"""Rows of tables as choice items, recognised by their columns.

::

    correct, incorrect            ours: id, context, correct, incorrect (one or a list), subset, cluster, tokenizer;
                                  each part a text, or {"text", "audio", "tokens", "id"}
    positive, negative            llama-mimi's sets: audio (or text) columns; a column prompt or context, if any
    positive_audio, negative_audio  SALMon's data set
    ctx, endings, label           HellaSwag, with lm-evaluation-harness's prompt
    premise, choice1, choice2     COPA (question, label), with lm-evaluation-harness's prompt
    InputSentence1 ... 4          StoryCloze (RandomFifthSentenceQuiz1 and 2, AnswerRightEnding)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.sets.rows import Row

from .choice_item import ChoiceItem, ChoicePart

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus")
IDS = ("id", "InputStoryid", "ind", "idx", "index")
CONNECTIVES = {"cause": "because", "effect": "therefore"}


def read_choice(row: Row) -> ChoiceItem:
    """A row as an item.

    Raises:
        ValueError: columns of no known layout, or a value that is none.
    """
    for column, read in READERS.items():
        if column in row.values:
            return read(row)
    known = ", ".join(READERS)
    raise ValueError(f"columns {', '.join(row.values)}: none of {known}")


def row_id(row: Row) -> str:
    """The row's id, or its file and number."""
    for column in IDS:
        value = row.values.get(column)
        if isinstance(value, str | int) and str(value).strip():
            source = row.values.get("source_id") if column == "ind" else None  # HellaSwag counts in each of its sources
            return f"{source}/{value}" if isinstance(source, str) else str(value)
    return f"{row.stem}-{row.number:05d}"


def read_part(row: Row, value: Any, name: str, default_id: str) -> ChoicePart:
    """A text, a sound's path or bytes, or a record of text, audio, tokens and id, as a part.

    Raises:
        ValueError: another value, an empty text, or no such file.
    """
    if isinstance(value, Mapping) and not value.keys() & {"text", "audio", "tokens"}:
        value = {"audio": value}  # a data set's struct of bytes and path
    elif isinstance(value, str):
        value = {"audio" if value.lower().endswith(SOUNDS) else "text": value}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {value!r}, neither a text nor a sound")
    inner = replace(row, values=value)
    text = inner.text("text") if value.get("text") is not None else None
    audio, codes = inner.audio("audio"), value.get("tokens")
    if codes is not None:
        is_sound = isinstance(codes, list | tuple) and all(type(code) is int and code >= 0 for code in codes)
        if not is_sound or not codes:
            raise ValueError(f"the tokens of {name} are no list of codes, or an empty one")
        codes = tuple(codes)
    if text is None and audio is None and codes is None:
        raise ValueError(f"{name} has no text, no audio and no tokens")
    stem = Path(audio.file).stem if audio is not None and audio.file is not None else default_id
    return ChoicePart(id=str(value.get("id") or stem), text=text, audio=audio, codes=codes)


def _own(row: Row) -> ChoiceItem:
    return _of_columns(row, "correct", "incorrect")


def _positive(row: Row) -> ChoiceItem:
    return _of_columns(row, "positive", "negative")


def _positive_audio(row: Row) -> ChoiceItem:
    return _of_columns(row, "positive_audio", "negative_audio")


def _of_columns(row: Row, right: str, wrong: str) -> ChoiceItem:
    name = row_id(row)
    context = next((row.values[key] for key in ("context", "prompt") if row.values.get(key) is not None), None)
    others = row.values.get(wrong)
    others = others if isinstance(others, list | tuple) else [others]
    candidates = [(right, row.values.get(right)), *((wrong, other) for other in others)]
    return ChoiceItem(
        id=name,
        context=None if context is None else read_part(row, context, "context", f"{name}-context"),
        candidates=tuple(
            read_part(row, value, column, f"{name}-{column}" + (f"-{at}" if at > 1 else ""))
            for at, (column, value) in enumerate(candidates)
        ),
        subset=str(row.values.get("subset") or ""),
        cluster=str(row.values.get("cluster") or ""),
        speech_tokenizer=str(row.values.get("tokenizer") or ""),
    )


def _hellaswag(row: Row) -> ChoiceItem:
    if all(isinstance(row.values.get(key), str) for key in ("activity_label", "ctx_a", "ctx_b")):
        context = f"{row.values['activity_label']}: {row.values['ctx_a']} {row.values['ctx_b'].capitalize()}"
    else:
        context = row.text("ctx")
    endings = row.values["endings"]
    if not isinstance(endings, list | tuple) or not all(isinstance(one, str) and one.strip() for one in endings):
        raise ValueError("endings is no list of texts")
    return _text_item(row, _plain(context), [_plain(one) for one in endings], row.text("label"))


def _plain(text: str) -> str:
    """A text of WikiHow without its marks, as lm-evaluation-harness's ``preprocess`` makes it."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _copa(row: Row) -> ChoiceItem:
    asked = row.text("question")
    if asked not in CONNECTIVES:
        raise ValueError(f"question is {asked!r}, neither cause nor effect")
    choices = [row.text(f"choice{number}") for number in (1, 2)]
    context = f"{row.text('premise').rstrip('.')} {CONNECTIVES[asked]}"
    return _text_item(row, context, [one[0].lower() + one[1:] for one in choices], row.text("label"))


def _story_cloze(row: Row) -> ChoiceItem:
    context = " ".join(row.text(f"InputSentence{number}") for number in range(1, 5))
    endings = [row.text(f"RandomFifthSentenceQuiz{number}") for number in (1, 2)]
    right = row.text("AnswerRightEnding")
    return _text_item(row, context, endings, str(int(right) - 1) if right.isdecimal() else right)


def _text_item(row: Row, context: str, endings: list[str], label: str) -> ChoiceItem:
    if not label.isdecimal() or int(label) >= len(endings):
        raise ValueError(f"label {label!r} is no number of one of {len(endings)} endings")
    name = row_id(row)
    return ChoiceItem(
        id=name,
        context=ChoicePart(id=f"{name}-context", text=context),
        candidates=tuple(ChoicePart(id=f"{name}-{at}", text=ending) for at, ending in enumerate(endings)),
        correct=int(label),
    )


READERS: Mapping[str, Callable[[Row], ChoiceItem]] = {
    "correct": _own,
    "positive": _positive,
    "positive_audio": _positive_audio,
    "endings": _hellaswag,
    "choice1": _copa,
    "InputSentence1": _story_cloze,
}
