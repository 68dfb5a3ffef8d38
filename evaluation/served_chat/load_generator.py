"""Load generator: concurrent clients of a served chatbot.

A closed loop has a fixed number of clients, each of which asks again after the playback of its reply. In an open loop
questions arrive at a rate, independent of the server's speed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import websockets

from corpus.audio.files import SAMPLE_RATE
from corpus.audio.segments import read_segment
from corpus.manifest import Utterance
from runtime.errors import UserError

from .exchange import Exchange, Pcm, spoken_question
from .realtime_client import ClientOptions, RealtimeClient, RealtimeClientError

PAUSE_SECONDS = 1.0  # between a reply and the next question, on average


class SpokenQuestion(NamedTuple):
    """A question to ask: its name and its (S,) speech."""

    id: str
    speech: Pcm


def load_question(utterance: Utterance) -> SpokenQuestion:
    """A question of a manifest with its speech at the protocol's rate."""
    return SpokenQuestion(utterance.id, spoken_question(read_segment(utterance.segment), SAMPLE_RATE))


class SpeechClient(Protocol):
    """A client that asks one spoken question after the other."""

    async def ask(self, name: str, question: Pcm, *, interrupt_after: float | None = None) -> Exchange:
        """Send a question and receive the reply; see `RealtimeClient.ask`."""
        ...


OpenClient = Callable[[str, ClientOptions], AbstractAsyncContextManager[SpeechClient]]


def ignore(exchange: Exchange) -> None:
    """Do nothing with an exchange."""


async def closed_loop(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: ClientOptions,
    *,
    clients: int,
    dialogue_turns: int = 1,
    interrupt_after: float | None = None,
    seed: int = 1,
    on_exchange: Callable[[Exchange], None] = ignore,
    open_client: OpenClient = RealtimeClient,
) -> list[Exchange]:
    """Ask all questions by ``clients`` concurrent clients, each taking the next that is left.

    Args:
        url: of the server.
        questions: asked in this order.
        options: of the clients.
        clients: their number.
        dialogue_turns: questions of one dialogue, over one connection.
        interrupt_after: see `RealtimeClient.ask`.
        seed: of the pauses, which keep the clients out of step.
        on_exchange: called when a question has been answered.
        open_client: of the interface, from a URL and options.

    Returns:
        The exchange of each question, in the order of the questions.
    """
    left = list(enumerate(questions))[::-1]
    exchanges: dict[int, Exchange] = {}

    async def run_client(number: int) -> None:
        pauses = random.Random(f"talker {seed} {number}")
        while left:
            dialogue = [left.pop() for _ in range(min(dialogue_turns, len(left)))]
            await asyncio.sleep(pauses.uniform(0.0, 2 * PAUSE_SECONDS))
            made = await hold_dialogue(url, [each for _, each in dialogue], options, interrupt_after, open_client)
            for (place, _), exchange in zip(dialogue, made, strict=True):
                exchanges[place] = exchange
                on_exchange(exchange)

    await asyncio.gather(*(run_client(number) for number in range(clients)))
    return [exchanges[place] for place in range(len(questions))]


async def open_loop(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: ClientOptions,
    *,
    rate: float,
    seed: int = 1,
    on_exchange: Callable[[Exchange], None] = ignore,
) -> list[Exchange]:
    """Ask each question over a connection of its own, ``rate`` of them a second on average (Poisson arrivals)."""
    gaps = random.Random(f"open loop {seed}")
    due, moments = 0.0, []
    for _ in questions:
        due += gaps.expovariate(rate)
        moments.append(due)

    async def ask(question: SpokenQuestion, moment: float) -> Exchange:
        await asyncio.sleep(moment)
        (exchange,) = await hold_dialogue(url, [question], options)
        on_exchange(exchange)
        return exchange

    return list(await asyncio.gather(*map(ask, questions, moments)))


async def warm_up(
    url: str,
    question: SpokenQuestion,
    options: ClientOptions,
    open_client: OpenClient = RealtimeClient,
    *,
    remedy: str,
) -> None:
    """Ask a question that does not count: a server's first reply is slower than those that follow.

    Raises:
        UserError: it failed; ``remedy`` says what to look at.
    """
    (cold,) = await hold_dialogue(url, [question], options, None, open_client)
    if cold.status == "error":
        raise UserError(url, found=f"the first request failed: {cold.reason}", remedy=remedy)


async def hold_dialogue(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: ClientOptions,
    interrupt_after: float | None = None,
    open_client: OpenClient = RealtimeClient,
) -> list[Exchange]:
    """Ask questions one after the other over one connection; a failure is the ``status`` "error" of its exchange."""
    exchanges: list[Exchange] = []
    try:
        async with open_client(url, options) as client:
            for question in questions:
                exchanges.append(await client.ask(question.id, question.speech, interrupt_after=interrupt_after))
                if exchanges[-1].status == "error":
                    break
    except (RealtimeClientError, OSError, TimeoutError, websockets.WebSocketException) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        reason = "the dialogue broke off before"
    missing = questions[len(exchanges) :]
    return exchanges + [Exchange(id=question.id, status="error", reason=reason) for question in missing]
