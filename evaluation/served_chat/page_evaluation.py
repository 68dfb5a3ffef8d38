"""Evaluation of the served page in a browser: spoken questions in both ways of asking, judged at the loudspeaker."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import soundfile

from corpus.audio.segments import read_segment
from corpus.manifest import Utterance, read_manifest
from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import word_errors
from corpus.world.questions import QuestionAnswer, choose_questions, read_questions
from evaluation.judges.closed_world import load_judge
from evaluation.question_answering.scoring import is_right, share
from runtime.artefact import write_json, write_text

from .config import PageEvaluationConfig
from .page_client import PLAYER_RATE, WAYS, PageExchange, ask, interrupt, take_screenshots
from .server import serve_bundle


def evaluate_page(config: PageEvaluationConfig) -> None:
    """Serve, ask, judge, take screenshots, and write everything."""
    out = Path(config.out)
    keys = read_questions(config.corpus)
    judge = load_judge(config.corpus)
    chosen = chosen_questions(config)
    audio, screens = out / "audio", out / "screens"
    for folder in (audio, screens):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with serve_bundle(config.bundle, out / "server.log") as server:
        for question in chosen:
            for way in WAYS:
                asked = ask(server.url, read_segment(question.segment), way, audio)
                file = audio / f"{question.id}-{way.replace(' ', '-')}.wav"
                soundfile.write(file, asked.sound, PLAYER_RATE)
                judged = judge.transcribe_file(file)
                rows.append(row_of(question, keys, asked, way, judged, str(file.relative_to(out))))
                print(line_of(rows[-1]), flush=True)
        silent = interrupt(server.url, read_segment(chosen[0].segment), audio)
        print(
            "interrupted: " + ("never while it sounded" if silent is None else f"silent {silent:.0f} ms after the key")
        )
        take_screenshots(server.url, [read_segment(question.segment) for question in chosen[:3]], audio, screens)
    write_text(out / "page.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    summary = summarise(rows) | {"interrupted_ms": None if silent is None else round(silent)}
    write_json(out / "page.json", summary)
    for name, value in summary.items():
        print(f"  {name:<40} {value}")
    print(f"written: {out}")


def chosen_questions(config: PageEvaluationConfig) -> list[Utterance]:
    """Held-out questions of the corpus."""
    manifest = read_manifest(Path(config.corpus) / "heldout_sentence.jsonl")
    return choose_questions(manifest, kind="question", limit=config.questions, draw=f"page {config.seed}")


def row_of(
    question: Utterance,
    keys: dict[str, QuestionAnswer],
    asked: PageExchange,
    way: str,
    judged: str,
    reply_audio: str,
) -> dict[str, Any]:
    """One line of page.jsonl."""
    key = keys[spoken_words(question.text)]
    agreement = word_errors(asked.said, judged)
    return {
        "id": question.id,
        "speaker": question.speaker,
        "way": way,
        "question": question.text,
        "answer": key.answer,
        "heard": asked.heard,
        "said": asked.said,
        "judge": judged,
        "is_text_right": is_right(asked.said, key.answer),
        "is_speech_right": is_right(judged, key.answer),
        "spoken_edits": agreement.errors,
        "spoken_words": agreement.words,
        "seconds": asked.seconds,
        "gaps": asked.gaps,
        "reply_audio": reply_audio,
    }


def line_of(row: dict[str, Any]) -> str:
    """A row as lines of text."""
    shown = "no sound" if row["seconds"] is None else f"{row['seconds']:.2f} s, {row['gaps']} gaps"
    return (
        f"{row['way']}: {row['question']}\n  heard  {row['heard']}\n  said   {row['said']}\n"
        f"  judge  {row['judge']}\n  first sound {shown}"
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates and response times by way of asking."""
    found: dict[str, Any] = {"questions": len(rows) // len(WAYS)}
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        seconds = [row["seconds"] for row in mine if row["seconds"] is not None]
        name = way.replace(" ", "_").replace("-", "_")
        found[f"{name}.text_right"] = round(share(row["is_text_right"] for row in mine), 4)
        found[f"{name}.speech_right"] = round(share(row["is_speech_right"] for row in mine), 4)
        found[f"{name}.seconds_median"] = round(statistics.median(seconds), 3) if seconds else None
        found[f"{name}.seconds_most"] = max(seconds, default=None)
        found[f"{name}.gaps"] = sum(row["gaps"] for row in mine)
    words = sum(row["spoken_words"] for row in rows)
    found["spoken_agreement_wer"] = round(sum(row["spoken_edits"] for row in rows) / max(words, 1), 4)
    return found
