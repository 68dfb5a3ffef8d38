"""Threshold of a chatbot's confidence, from its confidence in answers to questions that it knows."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.events import NO_SPEECH, ReplyDone
from chatbot.engine.options import EngineOptions, ReplyOptions
from chatbot.settings import ChatSettings, bundle_folder
from corpus.audio.segments import read_segment
from corpus.manifest import Utterance, read_manifest
from corpus.world.questions import choose_questions
from runtime.artefact import atomic_folder, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .calibration_config import CalibrateConfig


@dataclass(frozen=True, kw_only=True)
class ScoredReply:
    """The model's confidence in its reply to one question; 0 where it heard nobody speak."""

    question: str
    medium: str
    said: str
    confidence: float


def calibrate(config: CalibrateConfig, run: Run) -> dict[str, Any]:
    """Ask the questions, write the bundle with the threshold; returns it and the shares lost."""
    source = bundle_folder(config.bundle)
    settings = ChatSettings.load(source)
    manifest, draw = read_manifest(config.manifest), f"calibrate {config.seed}"
    questions = choose_questions(manifest, kind=config.kind, voices=config.voices, limit=config.limit, draw=draw)
    engine = Engine.from_pretrained(source, EngineOptions(max_talkers=config.batch, threads=config.threads))
    if engine.bundle.reply_format.kind != "text_guided":
        found, remedy = f"a model of format {engine.bundle.reply_format.kind}", "give one of format text_guided"
        raise UserError(config.bundle, found=found, remedy=remedy)
    engine.bundle.settings.reply.min_confidence = 0.0  # what the model writes by itself is measured
    replies = asyncio.run(ask_all(engine, questions, config, run))
    by_medium = [[one.confidence for one in replies if one.medium == medium] for medium in ("speech", "text")]
    asked = [confidences for confidences in by_medium if confidences]
    threshold = min(highest_threshold(confidences, config.wanted_loss) for confidences in asked)
    lines = [json.dumps(vars(one), ensure_ascii=False) + "\n" for one in replies]
    write_text(run.folder / "confidences.jsonl", "".join(lines))
    with atomic_folder(run.folder / "bundle") as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        reply = replace(settings.reply, min_confidence=threshold)
        replace(settings, reply=reply).save(folder)
    lost = [share_below(confidences, threshold) for confidences in asked]
    return {"min_confidence": threshold, "questions": len(questions), "loss": max(lost)}


def highest_threshold(confidences: Sequence[float], wanted_loss: float) -> float:
    """The highest threshold, to four places, that at most ``wanted_loss`` of the confidences lie below."""
    ranked = sorted(confidences)
    return int(ranked[int(wanted_loss * len(ranked))] * 10_000) / 10_000


def share_below(confidences: Sequence[float], threshold: float) -> float:
    """The share of the confidences that lie below a threshold."""
    return round(sum(confidence < threshold for confidence in confidences) / len(confidences), 5)


async def ask_all(
    engine: Engine, questions: Sequence[Utterance], config: CalibrateConfig, run: Run
) -> list[ScoredReply]:
    """Ask every question, each in a conversation of its own; closes the engine."""
    asked = [(question, medium) for question in questions for medium in ("speech", "text")[: 1 + config.asks_typed]]
    replies: list[ScoredReply] = []
    try:
        with run.progress(len(asked), "questions", unit="question") as bar:
            for start in range(0, len(asked), config.batch):
                batch = asked[start : start + config.batch]
                replies += await asyncio.gather(*(ask(engine, question, medium) for question, medium in batch))
                bar.update(len(batch))
    finally:
        await engine.close(grace_seconds=0)
    return replies


async def ask(engine: Engine, question: Utterance, medium: str) -> ScoredReply:
    """The reply to one question, in text.

    Raises:
        UserError: it failed.
    """
    conversation = engine.open()
    try:
        if medium == "speech":
            await conversation.add_audio(read_segment(question.segment))
        else:
            conversation.add_text("user", question.text)
        done = await reply(conversation)
    finally:
        conversation.close()
    confidence = 0.0 if done.reason == NO_SPEECH or done.confidence is None else done.confidence
    return ScoredReply(question=question.text, medium=medium, said=done.text, confidence=confidence)


async def reply(conversation: Conversation) -> ReplyDone:
    """The end of a reply without speech, scored."""
    events = [event async for event in conversation.respond(ReplyOptions(has_audio=False, is_scored=True))]
    done = events[-1]
    assert isinstance(done, ReplyDone)
    if done.status == "failed":
        raise UserError("a question", found=f"no answer: {done.reason}", remedy="remove the cause and run again")
    return done
