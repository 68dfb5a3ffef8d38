"""Let a chatbot answer many spoken questions, for a judge to score.

    python -m chatbot.respond bundle=runs/quickstart/bundle \\
        manifest=runs/quickstart/corpus/heldout_sentence.jsonl out=runs/quickstart/answers

Takes distinct questions, each in one voice, the voices in turn. Writes <out>/answers.jsonl (id, audio, question, heard,
said, reply_audio, speaker, seconds, is_cut; paths relative to it, seconds of the spoken reply) and <out>/audio/*.wav.
Questions are asked at once by as many talkers of one engine; each answer is what it would be alone. After a kill,
finished batches are kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.artefact import write_text
from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from corpus.audio import Samples
    from corpus.manifest import BadRecord, Utterance

    from .engine import Engine
    from .parts import Bundle

PARTS = ("listen", "think", "speak")


@dataclass(kw_only=True)
class RespondConfig(StageConfig):
    """Options of chatbot.respond.

    Attributes:
        out: run folder; answers.jsonl and audio/ are written there.
        seed: chooses the questions and who asks them.
        bundle: run folder of chatbot.bundle, or the bundle in it.
        manifest: spoken questions (NeMo JSON lines).
        kind: only utterances of this kind; empty takes all.
        voices: only questions of these voices; none named means all.
        limit: at most so many distinct questions; 0 takes all.
        batch: questions answered at once.
        threads: CPU threads.
        max_bad_share: share of unreadable, too short or too long questions that is put up with.
    """

    bundle: str
    manifest: str
    kind: str = "question"
    voices: list[str] = field(default_factory=list)
    limit: int = 160
    batch: int = 16
    threads: int = 1
    max_bad_share: float = 0.02

    def __post_init__(self) -> None:
        check_option(self.limit >= 0, "limit", self.limit, "give 0 (all) or more")
        check_option(self.batch >= 1, "batch", self.batch, "give at least 1")
        check_option(self.threads >= 1, "threads", self.threads, "give at least 1")
        check_option(0 <= self.max_bad_share < 1, "max_bad_share", self.max_bad_share, "give a share in [0, 1)")


def run(config: RespondConfig, run: Run) -> dict[str, Any]:
    """Answer all questions; returns how many and how fast."""
    import asyncio

    from corpus.manifest import check_bad_share, read_manifest
    from corpus.questions import choose_questions

    from .engine import Engine, EngineOptions

    engine = Engine.from_pretrained(config.bundle, EngineOptions(max_talkers=config.batch, threads=config.threads))
    manifest = read_manifest(config.manifest, config.max_bad_share)
    chosen = choose_questions(
        manifest, kind=config.kind, voices=config.voices, limit=config.limit, draw=f"respond {config.seed}"
    )
    questions, bad = answerable(chosen, engine.bundle)
    check_bad_share(bad, len(chosen), config.max_bad_share)
    records = asyncio.run(answer_all(engine, questions, run))
    lines = [json.dumps(without_timings(record), ensure_ascii=False) + "\n" for record in records]
    write_text(run.folder / "answers.jsonl", "".join(lines))
    return summarise(records, len(bad))


async def answer_all(engine: Engine, questions: list[Utterance], run: Run) -> list[dict[str, Any]]:
    """The records of all answers, those of an earlier run included; closes the engine."""
    import asyncio

    from corpus.audio import read_audio
    from corpus.journal import Journal

    size = engine.options.max_talkers
    batches = [questions[start : start + size] for start in range(0, len(questions), size)]
    try:
        with Journal(run.folder / "answered.jsonl") as journal:
            done = {str(record["id"]): record for record in journal.records}
            left = [batch for batch in batches if not all(question.id in done for question in batch)]
            num_left = sum(map(len, left))
            with run.progress(len(questions), "answers", start=len(questions) - num_left, unit="question") as bar:
                for batch in left:
                    answers = await asyncio.gather(*(answer(engine, read_audio(question.audio)) for question in batch))
                    made = [keep(question, one, run.folder) for question, one in zip(batch, answers, strict=True)]
                    journal.append(*made)
                    done |= {str(record["id"]): record for record in made}
                    bar.update(len(batch))
    finally:
        await engine.close(grace_seconds=0)
    return [done[question.id] for question in questions]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        heard: the model's transcript of the question; None if it makes none.
        said: the reply in text.
        audio: (S,) float32, the reply in speech; empty if the model said nothing.
        sample_rate: of ``audio``, in Hz.
        is_cut: a part was ended by its limit instead of by the model.
        timings: seconds, by part; of the other talkers' work, too, where many answer at once.
    """

    heard: str | None
    said: str
    audio: Samples
    sample_rate: int
    is_cut: bool
    timings: dict[str, float]


async def answer(engine: Engine, question: Samples) -> Answer:
    """Ask an engine one question, (S,) at 16 kHz, that has nothing to do with others.

    Raises:
        UserError: the reply failed.
    """
    import numpy as np

    from .events import AudioDelta, ReplyDone

    talker = engine.open()
    try:
        await talker.add_audio(question)
        events = [event async for event in talker.respond()]
    finally:
        talker.close()
    done = events[-1]
    assert isinstance(done, ReplyDone)
    if done.status == "failed":
        raise UserError("a question", found=f"no answer: {done.reason}", remedy="mend that, and run again")
    pieces = [event.samples for event in events if isinstance(event, AudioDelta)]
    return Answer(
        heard=done.transcript if engine.bundle.reply_format.transcribes else None,
        said=done.text,
        audio=np.concatenate([np.zeros(0, np.float32), *pieces]),
        sample_rate=engine.sample_rate,
        is_cut=done.status == "incomplete",
        timings={name: getattr(done.timings, name) for name in PARTS},
    )


def answerable(questions: list[Utterance], bundle: Bundle) -> tuple[list[Utterance], list[BadRecord]]:
    """The questions that can be read and are neither too short nor too long, and the others."""
    from corpus.audio import read_audio
    from corpus.manifest import BadRecord

    good, bad = [], []
    for question in questions:
        try:
            bundle.check_question(read_audio(question.audio), str(question.audio))
            good.append(question)
        except UserError as error:
            bad.append(BadRecord(error.subject, error.found))
    return good, bad


def keep(question: Utterance, answer: Answer, folder: Path) -> dict[str, Any]:
    """Write an answer's speech; its record."""
    from corpus.audio import write_audio

    file = folder / "audio" / f"{question.id.replace('/', '_')}.wav"
    if len(answer.audio):
        write_audio(file, answer.audio, answer.sample_rate)
    return {
        "id": question.id,
        "audio": relative(question.audio, folder),
        "question": question.text,
        "heard": answer.heard,
        "said": answer.said,
        "reply_audio": relative(file, folder) if len(answer.audio) else None,
        "speaker": question.speaker,
        "seconds": round(len(answer.audio) / answer.sample_rate, 3),
        "is_cut": answer.is_cut,
        "timings": answer.timings,
    }


def relative(file: Path, folder: Path) -> str:
    """The path of a file from a folder, whatever links lead there."""
    return os.path.relpath(file.resolve(), folder.resolve())


def without_timings(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what differs from run to run."""
    return {key: value for key, value in record.items() if key != "timings"}


def summarise(records: list[dict[str, Any]], num_bad: int) -> dict[str, Any]:
    """How many were answered, and the mean seconds that each part of an answer took (`Answer.timings`)."""
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
    return metrics


STAGE = Stage(
    name="chatbot.respond",
    config=RespondConfig,
    run=run,
    summary="Answer spoken questions with a chatbot, in speech.",
    inputs=lambda config: [config.bundle, config.manifest],
    example="bundle=runs/quickstart/bundle manifest=runs/quickstart/corpus/heldout_sentence.jsonl "
    "out=runs/quickstart/answers",
)

if __name__ == "__main__":
    STAGE.exit()
