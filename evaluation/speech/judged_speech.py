"""Judgement of a chain's speech: resyntheses, their recordings (the judge's floor), answers and dialogues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corpus.world.questions import read_questions
from evaluation.judges.closed_world import load_judge
from evaluation.judges.transcription import transcribe_all
from evaluation.question_answering import answers, conversations
from runtime.artefact import write_text
from runtime.stage import Run

from . import resynthesis
from .config import EvaluationConfig


def judge_speech(config: EvaluationConfig, run: Run) -> dict[str, Any]:
    """Transcribe everything with the judge, score it, write details.jsonl; returns the metrics."""
    judge = load_judge(config.corpus)
    originals = resynthesis.recordings(config.corpus)
    folders = {"resynthesis": config.resynthesis, "griffin_lim": config.resynthesis_fallback}
    pairs_of = {part: resynthesis.pair(folder, originals).pairs for part, folder in folders.items() if folder}
    num_made = sum(map(len, pairs_of.values()))
    pairs_of = {part: resynthesis.judgeable(pairs, judge, str(folders[part])) for part, pairs in pairs_of.items()}
    answered = []
    if config.answers:
        questions = read_questions(config.corpus)
        answered = answers.read_answers(config.answers, lambda _, words: questions.get(words))
    asked = config.dialogue_answers
    in_dialogues, relations = conversations.read_conversations(asked, config.corpus) if asked else ([], {})
    wanted = resynthesis.recordings_to_transcribe(pairs_of["resynthesis"]) + answers.replies_to_transcribe(
        answered + in_dialogues
    )
    for part, pairs in pairs_of.items():
        wanted += resynthesis.speech_to_transcribe(part, pairs)
    transcripts = transcribe_all(judge, wanted, run, processes=config.processes)

    rows = {part: resynthesis.score(part, pairs, transcripts) for part, pairs in pairs_of.items()}
    rows["floor"] = resynthesis.score("floor", pairs_of["resynthesis"], transcripts)
    metrics: dict[str, Any] = {
        "judge.utterances": len(rows["floor"]),
        "judge.outside_world": num_made - sum(map(len, pairs_of.values())),
        "judge.floor_wer": resynthesis.rate(rows["floor"]),
        "decoder.judge_wer": resynthesis.rate(rows["resynthesis"]),
    }
    if "griffin_lim" in rows:
        metrics["decoder.judge_wer_griffin_lim"] = resynthesis.rate(rows["griffin_lim"])
    for speaker in sorted({row["speaker"] for row in rows["floor"]}):
        metrics[f"judge.floor_wer.{speaker}"] = resynthesis.rate(rows["floor"], speaker)
    for speaker in sorted({row["speaker"] for row in rows["resynthesis"]}):
        metrics[f"decoder.judge_wer.{speaker}"] = resynthesis.rate(rows["resynthesis"], speaker)
    if answered:
        rows["answer"] = answers.score(answered, transcripts)
        metrics |= answers.summarise(rows["answer"])
    if in_dialogues:
        rows["dialogue"] = conversations.score_conversations(in_dialogues, relations, transcripts)
        metrics |= conversations.summarise_conversations(rows["dialogue"])
    write_details(run.folder / "details.jsonl", rows)
    return metrics


def write_details(file: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write all rows, the parts in the order of the alphabet."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for part in sorted(rows) for row in rows[part]]
    write_text(file, "".join(lines))
