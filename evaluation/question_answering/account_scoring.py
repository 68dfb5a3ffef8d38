"""Scores of accounts: which persons, colours, things and places of the right reply a long reply tells, in order.

The slots of a reply are its words for persons, colours, things and places. A reply's slots that are right are the
longest common subsequence with those of the right reply; it is whole where both are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rapidfuzz.distance import LCSseq

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import read_manifest
from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import word_errors
from corpus.world.accounts import slot_words
from corpus.world.questions import read_questions
from evaluation.judges.closed_world import load_judge
from evaluation.judges.transcription import AudioItem, transcribe_all
from evaluation.rules.measure import ItemScore, Measure, score_set
from runtime.artefact import write_json, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .account_config import AccountsConfig
from .answers import SpokenAnswer, read_answers, replies_to_transcribe

FLOOR = "floor/"


def judge_accounts(config: AccountsConfig, run: Run) -> dict[str, Any]:
    """Transcribe the spoken replies and the recordings of the right ones, and score; returns the metrics.

    Raises:
        UserError: answers of an earlier version, or to requests that the accounts do not have.
    """
    questions = read_questions(config.accounts)
    answers = read_answers(config.answers, lambda _, words: questions.get(words))
    places = read_places(Path(config.answers) / "answers.jsonl")
    manifest = read_manifest(Path(config.accounts) / "heldout_sentence.jsonl")
    recorded = [one for one in manifest.utterances if one.kind == "reply"]
    wanted = [AudioItem(f"{FLOOR}{one.id}", one.audio) for one in recorded]
    transcripts = transcribe_all(
        load_judge(config.accounts), [*replies_to_transcribe(answers), *wanted], run, processes=config.processes
    )
    rows = [score_answer(one, transcripts.get(f"answer/{one.id}", ""), places[one.id]) for one in answers]
    scores = [(row["topic"], ItemScore(measures_of(row))) for row in rows]
    floor = [word_errors(one.text, transcripts[f"{FLOOR}{one.id}"]) for one in recorded]
    scores += [("", ItemScore({"floor_wer": Measure(errors.errors, errors.words)})) for errors in floor]
    means = score_set(scores).means
    write_text(run.folder / "details.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_json(run.folder / "scores.json", {name: asdict(mean) for name, mean in means.items()})
    return {"requests": len(rows), **{name: mean.micro for name, mean in means.items()}}


def read_places(file: Path) -> Mapping[str, Mapping[str, int]]:
    """``tokens_before_speech`` and ``speech_blocks`` of each answer by id.

    Raises:
        UserError: an answer without them.
    """
    found = {}
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        record = parse_json_line(line)
        try:
            found[str(record["id"])] = {
                "tokens_before_speech": int(record["tokens_before_speech"]),
                "speech_blocks": int(record["speech_blocks"]),
            }
        except KeyError as error:
            remedy = "run chatbot.respond again, in a folder of its own"
            raise UserError(f"{file}, line {number}", found=f"no {error}", remedy=remedy) from error
    return found


def score_answer(answer: SpokenAnswer, judged: str, places: Mapping[str, int]) -> dict[str, Any]:
    """The row of one answer.

    Args:
        answer: of the chatbot.
        judged: the judge's transcript of its speech.
        places: a line of `read_places`.
    """
    right = answer.asked.reply
    hearing = None if answer.heard is None else word_errors(answer.asked.question, answer.heard)
    agreement = word_errors(answer.said, judged)
    return {
        "id": answer.id,
        "topic": answer.asked.topic,
        "question": answer.asked.question,
        "heard": answer.heard,
        "reply": right,
        "said": answer.said,
        "judge": judged,
        "reply_audio": str(answer.reply_audio) if answer.reply_audio else None,
        "slots": len(slot_words(right)),
        "text_slots": common_slots(right, answer.said),
        "speech_slots": common_slots(right, judged),
        "is_text_whole": slots_of(answer.said) == slot_words(right),
        "is_speech_whole": slots_of(judged) == slot_words(right),
        "heard_edits": hearing.errors if hearing else None,
        "heard_words": hearing.words if hearing else None,
        "spoken_edits": agreement.errors,
        "spoken_words": agreement.words,
        **places,
    }


def slots_of(text: str) -> list[str]:
    """The slots of a text in any form."""
    return slot_words(spoken_words(text))


def common_slots(right: str, given: str) -> int:
    """The number of slots of the right reply that another text has in their order."""
    return int(LCSseq.similarity(slot_words(right), slots_of(given)))


def measures_of(row: Mapping[str, Any]) -> dict[str, Measure]:
    """The measures of an answer's row."""
    return dict(_measures(row))


def _measures(row: Mapping[str, Any]) -> Iterator[tuple[str, Measure]]:
    for way in ("text", "speech"):
        yield f"{way}_slots", Measure(row[f"{way}_slots"], row["slots"])
        yield f"{way}_whole", Measure(float(row[f"is_{way}_whole"]))
    yield "spoken_agreement_wer", Measure(row["spoken_edits"], max(row["spoken_words"], 1))
    if row["heard_words"] is not None:
        yield "heard_wer", Measure(row["heard_edits"], row["heard_words"])
    for name in ("tokens_before_speech", "speech_blocks"):
        yield name, Measure(row[name])
