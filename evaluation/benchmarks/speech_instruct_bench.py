"""SpeechInstructBench (2503.02769): closed instructions under five conditions, open and corrected ones; en and zh.

Files as published: ``closed_standard_en.jsonl`` (key, prompt, instruction_id_list, kwargs), ``open_ended_cn.jsonl``
(prompt, decomposed_questions), ``adjustment_en.jsonl`` (prompt), each with ``audio_path``; the Parquet of the data set
(``audio``, ``language``) is read too. The subset is the file's kind, condition and language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.rules.decomposed import ADJUSTMENT, DECOMPOSED
from evaluation.rules.instructions.counting import is_chinese
from evaluation.rules.instructions.following import BILINGUAL
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.sets.item import EvaluationItem
from evaluation.sets.rows import Row

from .benchmark import Benchmark, PublishedScore
from .instruction_rows import read_instructions

CONDITIONS = ("standard", "background", "accent", "paralinguistics", "disfluency")
CONDITION = re.compile(rf"(?<![a-z])({'|'.join(CONDITIONS)}|emotion)(?![a-z])")
LANGUAGE = re.compile(r"(?<![a-z])(en|cn|zh)(?![a-z])")
LANGUAGES = {"en": "en", "english": "en", "cn": "cn", "zh": "cn", "chinese": "cn"}
CLOSED, OPEN, ADJUSTED = "closed", "open_ended", "adjustment"
SOURCE = "2503.02769, SpeechInstructBench's table"


def read_item(row: Row) -> EvaluationItem:
    """A row of any of the three tasks."""
    prompt = row.text("prompt")
    place = f"{row.folder.name} {row.stem}".lower().replace("_", " ")
    subset, details = _task(row, place)
    for name in ("key", "id", "gender"):
        if row.values.get(name) is not None:
            details[name] = row.values[name]
    subset = f"{subset}_{_language(row, place, prompt)}"
    return EvaluationItem(
        id=f"{subset}/{row.stem}-{row.number:05d}", prompt=prompt, audio=row.audio(), subset=subset, details=details
    )


def _task(row: Row, place: str) -> tuple[str, dict[str, Any]]:
    if row.values.get("instruction_id_list") is not None:
        condition = CONDITION.search(place)
        if condition is None:
            raise ValueError(f"the name of its file says none of {', '.join(CONDITIONS)}")
        name = condition[1].replace("emotion", "paralinguistics")
        return f"{CLOSED}_{name}", {"instructions": read_instructions(row)}
    if row.values.get("decomposed_questions") is not None:
        return OPEN, {"decomposed_questions": list(row.texts("decomposed_questions"))}
    if "adjust" in place:
        return ADJUSTED, {}
    raise ValueError("neither instruction_id_list nor decomposed_questions, and its file is not named adjustment")


def _language(row: Row, place: str, prompt: str) -> str:
    said = LANGUAGES.get(str(row.values.get("language", "")).lower())
    named = LANGUAGE.search(place)
    return said or (LANGUAGES[named[1]] if named else "cn" if is_chinese(prompt) else "en")


def official_row(item: EvaluationItem, answer: str) -> Mapping[str, Any]:
    """The row that the published evaluator reads."""
    row: dict[str, Any] = {name: item.details[name] for name in ("key", "id") if name in item.details}
    row["prompt"] = item.prompt
    if "instructions" in item.details:
        row["instruction_id_list"] = [id_ for id_, _ in item.details["instructions"]]
        row["kwargs"] = [dict(values) for _, values in item.details["instructions"]]
    if "decomposed_questions" in item.details:
        row["decomposed_questions"] = item.details["decomposed_questions"]
    if item.audio is not None and item.audio.file is not None:
        row["audio_path"] = str(item.audio.file)
    return row | {"response": answer}


def _published() -> Iterator[PublishedScore]:
    columns = (*(f"closed {condition} {score}" for condition in CONDITIONS for score in "PI"),)
    columns += ("open P", "open I", "adjustment IAR", "adjustment ECR")
    for line in TABLE.strip().splitlines():
        language, model, *values = line.split()
        for column, value in zip(columns, values, strict=True):
            yield PublishedScore(model, "S->T", float(value), SOURCE, f"{column} {language}")


TABLE = """
en BLSP 14.97 24.17 13.76 23.46 13.28 22.89 13.65 23.60 13.10 22.88 11.78 21.55 35.45 35.05
en GLM-4-Voice 18.28 29.39 17.29 27.89 20.37 31.11 20.04 31.75 18.83 30.18 28.17 52.05 77.91 24.89
en Mini-Omni2 7.04 16.52 7.26 16.52 7.80 16.91 6.16 15.59 7.92 16.30 3.23 6.84 12.80 21.20
en Mini-Omni 8.14 16.73 9.25 17.74 8.37 16.88 8.14 18.02 8.23 17.52 1.15 1.70 7.31 18.69
en Megrez 19.49 31.04 17.51 28.96 18.31 29.18 19.02 30.53 19.28 28.67 37.27 64.35 55.06 31.98
en DIVA 27.64 37.26 26.32 36.69 26.49 36.26 27.97 37.91 19.16 27.89 33.64 61.12 58.94 33.73
en Qwen2-Audio 19.82 30.18 18.17 28.82 18.59 28.81 20.70 31.33 15.19 24.67 31.40 58.14 48.60 37.45
en InSerter 39.75 51.35 37.56 49.87 37.34 48.24 35.79 46.85 36.38 47.28 40.87 67.33 80.72 23.28
cn GLM-4-Voice 18.31 26.72 16.58 23.99 12.64 20.86 17.28 25.76 14.51 22.87 39.03 56.52 81.27 13.15
cn Megrez 18.31 27.84 17.16 26.32 17.26 26.01 18.43 27.97 16.58 25.76 31.69 39.27 63.34 17.53
cn DIVA 15.86 26.43 17.05 25.92 11.71 21.18 15.55 24.87 14.97 24.31 10.62 31.10 25.94 13.39
cn Qwen2-Audio 19.23 28.97 18.89 28.49 17.99 26.99 18.77 26.48 18.77 26.48 40.64 64.37 64.00 23.20
cn InSerter 32.71 42.37 32.60 42.30 27.95 36.15 33.99 43.18 32.48 41.33 50.58 68.32 84.06 12.10
"""

SPEECH_INSTRUCT_BENCH = Benchmark(
    name="speech_instruct_bench",
    summary="SpeechInstructBench: instructions in speech, closed, open and corrected, en and zh",
    read_item=read_item,
    rules=(
        BILINGUAL.only(lambda item: item.subset.startswith(CLOSED)),
        DECOMPOSED.only(lambda item: item.subset.startswith(OPEN)),
        ADJUSTMENT.only(lambda item: item.subset.startswith(ADJUSTED)),
        SPOKEN_AGREEMENT,
    ),
    instruction="You are a helpful AI assistant. Please answer the question based on the provided audio.",
    max_new_tokens=1024,
    published=tuple(_published()),
    official_row=official_row,
    official_file=lambda item, model, direction: f"{item.subset}.jsonl",
    notes={
        "sentences": "English ones are counted by our splitter; the published script uses punkt, which is not shipped.",
        "judge": "prompts are ours with the published fields and statistics; judges and prompts are in the stamp.",
    },
)
