"""Answers to spoken questions, several dialogues at once, journalled batch by batch."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.events import NO_SPEECH, AudioDelta, ReplyDone
from chatbot.engine.options import EngineOptions
from corpus.audio.files import Samples, write_audio
from corpus.audio.segments import read_segment
from corpus.manifest import BadRecord, Manifest, Utterance, check_bad_share, read_manifest
from corpus.world.dialogues import read_question_dialogues
from corpus.world.questions import choose_questions
from lm.data.vocabulary import Vocabulary
from runtime.artefact import relative_path, write_text
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run

from .config import RespondConfig

PARTS = ("listen", "think", "speak")
FIRST_SOUND = "first_audio"


def respond(config: RespondConfig, run: Run) -> dict[str, Any]:
    """Answer all questions; returns how many and how fast."""
    engine = Engine.from_pretrained(config.bundle, EngineOptions(max_talkers=config.batch, threads=config.threads))
    manifest = read_manifest(config.manifest, config.max_bad_share)
    chosen = choose(config, manifest)
    dialogues, bad = answerable(chosen, engine.bundle, config.duration_tolerance)
    check_bad_share(bad, sum(map(len, chosen)), config.max_bad_share)
    records = asyncio.run(answer_all(engine, dialogues, run))
    lines = [json.dumps(without_timings(record), ensure_ascii=False) + "\n" for record in records]
    write_text(run.folder / "answers.jsonl", "".join(lines))
    return summarise(records, len(bad))


def choose(config: RespondConfig, manifest: Manifest) -> list[list[Utterance]]:
    """The questions of each dialogue; a question that is asked by itself is a dialogue of one.

    Raises:
        UserError: nothing to ask, or a dialogue's question is not in the manifest.
    """
    if not config.dialogues:
        draw = f"respond {config.seed}"
        asked = choose_questions(manifest, kind=config.kind, voices=config.voices, limit=config.limit, draw=draw)
        return [[question] for question in asked]
    by_id = {utterance.id: utterance for utterance in manifest.utterances}
    dialogues = read_question_dialogues(config.dialogues)[: config.limit or None]
    for missing in (turn.utterance for one in dialogues for turn in one.turns if turn.utterance not in by_id):
        remedy = f"give the manifest that the dialogues of {config.dialogues} were written with"
        raise UserError(str(manifest.path), found=f"no utterance {missing!r}", remedy=remedy)
    return [[by_id[turn.utterance] for turn in one.turns] for one in dialogues]


async def answer_all(engine: Engine, dialogues: list[list[Utterance]], run: Run) -> list[dict[str, Any]]:
    """The records of all answers, those of an earlier run included; closes the engine."""
    size = engine.options.max_talkers
    batches = [dialogues[start : start + size] for start in range(0, len(dialogues), size)]
    num_questions = sum(map(len, dialogues))
    try:
        with Journal(run.folder / "answered.jsonl") as journal:
            done = {str(record["id"]): record for record in journal.records}
            left = [batch for batch in batches if not all(question.id in done for one in batch for question in one)]
            num_left = sum(len(one) for batch in left for one in batch)
            with run.progress(num_questions, "answers", start=num_questions - num_left, unit="question") as bar:
                for batch in left:
                    heard = (
                        [read_segment(question.segment, tolerance=math.inf) for question in dialogue]  # checked before
                        for dialogue in batch
                    )
                    answers = await asyncio.gather(*(converse(engine, one) for one in heard))
                    pairs = zip(chain(*batch), chain(*answers), strict=True)
                    made = [keep(question, one, run.folder) for question, one in pairs]
                    journal.append(*made)
                    done |= {str(record["id"]): record for record in made}
                    bar.update(len(made))
    finally:
        await engine.close(grace_seconds=0)
    return [done[question.id] for dialogue in dialogues for question in dialogue]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        heard: the model's transcript of the question; None if it makes none.
        said: the reply in text.
        audio: (S,) float32, the reply in speech; empty if the model said nothing.
        sample_rate: of ``audio``, in Hz.
        is_cut: a part was ended by its limit instead of by the model.
        tokens_before_speech: tokens of the reply before its first speech token, marks included.
        speech_blocks: stretches of speech tokens in the reply.
        timings: seconds, by part, and until the first sound; including the other conversations' work, where several
            run at once.
    """

    heard: str | None
    said: str
    audio: Samples
    sample_rate: int
    is_cut: bool
    tokens_before_speech: int
    speech_blocks: int
    timings: dict[str, float | None]


async def converse(engine: Engine, questions: list[Samples]) -> list[Answer]:
    """Ask an engine the questions of one dialogue, (S,) each at 16 kHz, each when the one before is answered.

    Raises:
        UserError: a reply failed.
    """
    conversation = engine.open()
    try:
        return [await answer(conversation, question) for question in questions]
    finally:
        conversation.close()


async def answer(conversation: Conversation, question: Samples) -> Answer:
    """Ask a conversation one question."""
    await conversation.add_audio(question)
    events = [event async for event in conversation.respond()]
    models = conversation.models
    done = events[-1]
    assert isinstance(done, ReplyDone)
    if done.status == "failed":
        raise UserError("a question", found=f"no answer: {done.reason}", remedy="remove the cause and run again")
    pieces = [event.samples for event in events if isinstance(event, AudioDelta)]
    reply = None if done.reason == NO_SPEECH else conversation.last_reply
    tokens_before_speech, speech_blocks = speech_places(reply.ids[1:] if reply else [], models.bundle.vocabulary)
    return Answer(
        heard=done.transcript if models.bundle.reply_format.transcribes else None,
        said=done.text,
        audio=np.concatenate([np.zeros(0, np.float32), *pieces]),
        sample_rate=models.sample_rate,
        is_cut=done.status == "incomplete",
        tokens_before_speech=tokens_before_speech,
        speech_blocks=speech_blocks,
        timings={name: getattr(done.timings, name) for name in (*PARTS, FIRST_SOUND)},
    )


def speech_places(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[int, int]:
    """The tokens of a reply before its first speech token, and the number of its stretches of speech tokens."""
    is_speech = vocabulary.is_speech(np.array(ids, dtype=np.int64)).tolist()
    begins = [at for at, here in enumerate(is_speech) if here and not (at and is_speech[at - 1])]
    return (begins[0] if begins else len(ids)), len(begins)


def answerable(
    dialogues: list[list[Utterance]], bundle: Bundle, tolerance: float
) -> tuple[list[list[Utterance]], list[BadRecord]]:
    """The dialogues whose questions can be read and are neither too short nor too long; the bad questions."""
    good: list[list[Utterance]] = []
    bad: list[BadRecord] = []
    for dialogue in dialogues:
        try:
            for question in dialogue:
                bundle.check_question(read_segment(question.segment, tolerance=tolerance), str(question.audio))
            good.append(dialogue)
        except UserError as error:
            bad.append(BadRecord(error.subject, error.found))
    return good, bad


def keep(question: Utterance, answer: Answer, folder: Path) -> dict[str, Any]:
    """Write an answer's speech; returns the answer's record."""
    file = folder / "audio" / f"{question.id.replace('/', '_')}.wav"
    if len(answer.audio):
        write_audio(file, answer.audio, answer.sample_rate)
    return {
        "id": question.id,
        "audio": relative_path(question.audio, folder),
        "question": question.text,
        "heard": answer.heard,
        "said": answer.said,
        "reply_audio": relative_path(file, folder) if len(answer.audio) else None,
        "speaker": question.speaker,
        "seconds": round(len(answer.audio) / answer.sample_rate, 3),
        "is_cut": answer.is_cut,
        "tokens_before_speech": answer.tokens_before_speech,
        "speech_blocks": answer.speech_blocks,
        "timings": answer.timings,
    }


def without_timings(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its timings, which differ from run to run."""
    return {key: value for key, value in record.items() if key != "timings"}


def summarise(records: list[dict[str, Any]], num_bad: int) -> dict[str, Any]:
    """Metrics: number of answers, mean tokens before their speech and mean seconds of their parts (`Answer.timings`).

    Seconds to the first sound count from the end of listening: in serving, questions are encoded while they are spoken.
    """
    count = max(len(records), 1)
    metrics: dict[str, Any] = {
        "questions": len(records),
        "skipped": num_bad,
        "voices": len({record["speaker"] for record in records}),
        "cut": sum(record["is_cut"] for record in records),
        "seconds_of_speech": round(sum(record["seconds"] for record in records), 2),
    }
    for part in PARTS:
        metrics[f"seconds_to_{part}"] = round(sum(record["timings"][part] for record in records) / count, 4)
    # A journal of an earlier version has no such entries.
    spoken = [record for record in records if record["timings"].get(FIRST_SOUND) is not None]
    waited = [record["timings"][FIRST_SOUND] - record["timings"]["listen"] for record in spoken]
    if spoken:
        metrics["seconds_to_first_sound"] = round(sum(waited) / len(spoken), 4)
        metrics["tokens_before_speech"] = round(sum(one["tokens_before_speech"] for one in spoken) / len(spoken), 2)
    return metrics
