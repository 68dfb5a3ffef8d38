"""Many talkers at once: a closed loop (so many talkers, each asks again when it has been answered) and an open loop
(questions come at a rate, whether the server keeps up or not).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .realtime_client import RealtimeClient, RealtimeClientError, TalkOptions
from .talk import Pcm, Talk

PAUSE_SECONDS = 1.0  # between a reply and the next question, on average


class SpokenQuestion(NamedTuple):
    """A question to ask: its name and its (S,) speech."""

    id: str
    speech: Pcm


def ignore(talk: Talk) -> None:
    """Do nothing with a talk."""


async def closed_loop(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: TalkOptions,
    *,
    talkers: int,
    dialogue_turns: int = 1,
    interrupt_after: float | None = None,
    seed: int = 1,
    on_talk: Callable[[Talk], None] = ignore,
) -> list[Talk]:
    """Let ``talkers`` talkers ask all questions, each the next that no one has asked yet.

    Args:
        url: of the server.
        questions: asked in this order.
        options: how to talk.
        talkers: who talk at once.
        dialogue_turns: questions of one dialogue, over one connection.
        interrupt_after: see `RealtimeClient.ask`.
        seed: of the pauses, so that the talkers do not march in step.
        on_talk: called when a question has been answered.

    Returns:
        What each question came to, in the order of the questions.
    """
    left = list(enumerate(questions))[::-1]
    talks: dict[int, Talk] = {}

    async def talk_on(number: int) -> None:
        pauses = random.Random(f"talker {seed} {number}")
        while left:
            dialogue = [left.pop() for _ in range(min(dialogue_turns, len(left)))]
            await asyncio.sleep(pauses.uniform(0.0, 2 * PAUSE_SECONDS))
            for (place, _), talk in zip(
                dialogue,
                await hold_dialogue(url, [each for _, each in dialogue], options, interrupt_after),
                strict=True,
            ):
                talks[place] = talk
                on_talk(talk)

    await asyncio.gather(*(talk_on(number) for number in range(talkers)))
    return [talks[place] for place in range(len(questions))]


async def open_loop(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: TalkOptions,
    *,
    rate: float,
    seed: int = 1,
    on_talk: Callable[[Talk], None] = ignore,
) -> list[Talk]:
    """Ask each question over a connection of its own, ``rate`` of them a second on average (Poisson arrivals)."""
    gaps = random.Random(f"open loop {seed}")
    due, moments = 0.0, []
    for _ in questions:
        due += gaps.expovariate(rate)
        moments.append(due)

    async def ask(question: SpokenQuestion, moment: float) -> Talk:
        await asyncio.sleep(moment)
        (talk,) = await hold_dialogue(url, [question], options)
        on_talk(talk)
        return talk

    return list(await asyncio.gather(*map(ask, questions, moments)))


async def hold_dialogue(
    url: str, questions: Sequence[SpokenQuestion], options: TalkOptions, interrupt_after: float | None = None
) -> list[Talk]:
    """Ask questions one after the other over one connection; a refused or broken one is told by its talk's status."""
    import websockets

    talks: list[Talk] = []
    try:
        async with RealtimeClient(url, options) as talker:
            for question in questions:
                talks.append(await talker.ask(question.id, question.speech, interrupt_after=interrupt_after))
                if talks[-1].status == "error":
                    break
    except (RealtimeClientError, OSError, TimeoutError, websockets.WebSocketException) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        reason = "the dialogue broke off before"
    missing = questions[len(talks) :]
    return talks + [Talk(id=question.id, status="error", reason=reason) for question in missing]
