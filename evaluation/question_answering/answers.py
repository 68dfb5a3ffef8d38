"""Spoken questions and answers: the chatbot's transcript and reply, and the judge's transcript of its speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import WordErrors, total, word_errors
from corpus.world.questions import QuestionAnswer
from evaluation.judges.transcription import AudioItem
from runtime.errors import UserError

from .scoring import is_right, share


@dataclass(frozen=True)
class SpokenAnswer:
    """One line of chatbot.respond's ``answers.jsonl``; paths in it are relative to that file.

    Attributes:
        id: of the question's utterance.
        audio: the question's speech.
        speaker: of the question.
        heard: the chatbot's transcript of the question; None if it makes none.
        said: its reply in text.
        reply_audio: its reply in speech; None if it made no speech.
        asked: the question with its right answer.
    """

    id: str
    audio: Path
    speaker: str
    heard: str | None
    said: str
    reply_audio: Path | None
    asked: QuestionAnswer


def read_answers(folder: Path | str, find: Callable[[str, str], QuestionAnswer | None]) -> list[SpokenAnswer]:
    """The answers of a run folder of chatbot.respond, each with its question.

    Args:
        folder: with answers.jsonl.
        find: a question, by the id of its utterance and its words in normal form; None for an unknown one.

    Raises:
        UserError: no answers, a bad line, or a question that the corpus lacks.
    """
    file = Path(folder) / "answers.jsonl"
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="give the output folder of chatbot.respond")
    answers = []
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        place = f"{file}, line {number}"
        try:
            record = parse_json_line(line)
            words = spoken_words(record["question"])
            reply_audio = record["reply_audio"]
            values = {key: str(record[key]) for key in ("id", "speaker", "said")}
            heard = None if record["heard"] is None else str(record["heard"])
            audio = file.parent / str(record["audio"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(place, found=f"no answer ({error})", remedy="run chatbot.respond again") from error
        asked = find(values["id"], words)
        if asked is None:
            found = f"the question {record['question']!r}, which the corpus does not have"
            raise UserError(place, found=found, remedy="give the corpus that the questions were taken from")
        spoken = None if reply_audio is None else file.parent / reply_audio
        answers.append(SpokenAnswer(audio=audio, heard=heard, reply_audio=spoken, asked=asked, **values))
    if not answers:
        raise UserError(str(file), found="no answer in it", remedy="run chatbot.respond again")
    return answers


def replies_to_transcribe(answers: list[SpokenAnswer]) -> list[AudioItem]:
    """The spoken replies, for the judge."""
    return [AudioItem(f"answer/{answer.id}", answer.reply_audio) for answer in answers if answer.reply_audio]


def score(answers: list[SpokenAnswer], transcripts: dict[str, str]) -> list[dict[str, Any]]:
    """One row of details for each answer."""
    rows = []
    for answer in answers:
        judged = transcripts.get(f"answer/{answer.id}", "")
        transcript = None if answer.heard is None else word_errors(answer.asked.question, answer.heard)
        agreement = word_errors(answer.said, judged)
        rows.append(
            {
                "part": "answer",
                "id": answer.id,
                "speaker": answer.speaker,
                "topic": answer.asked.topic,
                "audio": str(answer.audio),
                "question": answer.asked.question,
                "heard": answer.heard,
                "answer": answer.asked.answer,
                "reply": answer.asked.reply,
                "said": answer.said,
                "reply_audio": str(answer.reply_audio) if answer.reply_audio else None,
                "judge": judged,
                "is_text_right": is_right(answer.said, answer.asked.answer),
                "is_speech_right": is_right(judged, answer.asked.answer),
                "heard_edits": transcript.errors if transcript else None,
                "heard_words": transcript.words if transcript else None,
                "spoken_edits": agreement.errors,
                "spoken_words": agreement.words,
            }
        )
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics over rows of `score`."""

    def rate(edits: str, words: str) -> float:
        return round(
            total(WordErrors(row[edits], row[words]) for row in rows if row[edits] is not None).rate_or_errors, 5
        )

    def accuracy(truth: str, is_counted: Callable[[dict[str, Any]], bool] = lambda row: True) -> float:
        return round(share(row[truth] for row in rows if is_counted(row)), 5)

    metrics: dict[str, Any] = {"chat.questions": len(rows), "chat.silent": sum(not row["reply_audio"] for row in rows)}
    if any(row["heard"] is not None for row in rows):
        metrics["chat.heard_wer"] = rate("heard_edits", "heard_words")
    metrics["chat.spoken_agreement_wer"] = rate("spoken_edits", "spoken_words")
    for name, truth in (("speech_to_text", "is_text_right"), ("speech_to_speech", "is_speech_right")):
        metrics[f"chat.{name}_accuracy"] = accuracy(truth)
        for topic in sorted({row["topic"] for row in rows}):
            of_topic = accuracy(truth, lambda row, topic=topic: row["topic"] == topic)  # type: ignore[misc]
            metrics[f"chat.{name}_accuracy.{topic}"] = of_topic
    return metrics
