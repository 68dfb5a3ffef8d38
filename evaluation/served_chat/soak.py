"""Soak test: many clients for a long time; answers, errors, connections that are not freed, growth of memory.

``python -m benchmarks.chatbot soak`` runs it. The clients hold dialogues of one to four turns one after the other, half
of them with push to talk and half with an open microphone; some interrupt, some disconnect in the middle of a reply.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from runtime.artefact import atomic_path

from .exchange import ANSWERED, Exchange
from .load_generator import SpokenQuestion
from .realtime_client import ClientOptions, RealtimeClient, RealtimeClientError
from .records import audible_gaps
from .table import quantiles

MAX_TURNS = 4
INTERRUPTING, DISCONNECTING = 0.15, 0.15  # shares of the dialogues
WARM_UP = 0.2  # of the time: the server still fills its caches
FREED_SECONDS = 60.0  # within which a connection that has ended must be freed


@dataclass(kw_only=True)
class SoakResult:
    """Results of a soak test.

    Attributes:
        exchanges: all that were answered, each with its start in seconds.
        num_left: dialogues that disconnected in the middle of a reply.
        errors: reasons of exchanges without an answer.
        memory: (second, bytes) of the server.
        still_open: connections that the server still counted some seconds after all had ended.
        is_healthy: the server answered to the end.
    """

    exchanges: list[tuple[float, Exchange]] = field(default_factory=list)
    num_left: int = 0
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    still_open: int = -1
    is_healthy: bool = False

    def summary(self) -> dict[str, Any]:
        """The figures: answers, errors, first audio in the first and the second half, memory and its growth."""
        found: dict[str, Any] = {
            "answered": len(self.exchanges),
            "interrupted": sum(exchange.interrupted is not None for _, exchange in self.exchanges),
            "left": self.num_left,
            "errors": len(self.errors),
            "still_open": self.still_open,
            "is_healthy": self.is_healthy,
        }
        middle = (self.memory[-1][0] if self.memory else 0.0) / 2
        for name, is_in in (("first_half", lambda at: at < middle), ("second_half", lambda at: at >= middle)):
            waits = [exchange.first_audio_seconds for at, exchange in self.exchanges if is_in(at)]
            found[name] = quantiles("first_audio", [wait for wait in waits if wait is not None])
        gaps = [audible_gaps(exchange) for _, exchange in self.exchanges]
        found |= {"gapped": sum(map(bool, gaps)), "gaps": quantiles("seconds", [gap for some in gaps for gap in some])}
        return found | growth(self.memory)


def growth(memory: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Megabytes at the start, after the warm-up, at the end and at most; slope of a line fit after the warm-up."""
    if len(memory) < 2:
        return {}
    seconds, sizes = np.array([at for at, _ in memory]), np.array([size for _, size in memory]) / 2**20
    late = seconds >= WARM_UP * seconds[-1]
    slope = float(np.polyfit(seconds[late], sizes[late], 1)[0]) * 60 if late.sum() > 2 else 0.0
    return {
        "memory_start_mb": round(float(sizes[0]), 1),
        "memory_warm_mb": round(float(sizes[late][0]), 1),
        "memory_end_mb": round(float(sizes[-1]), 1),
        "memory_max_mb": round(float(sizes.max()), 1),
        "growth_mb_a_minute": round(slope, 3),
    }


async def soak(
    url: str,
    questions: Sequence[SpokenQuestion],
    *,
    clients: int,
    seconds: float,
    memory: Callable[[], int],
    key: str | None = None,
    seed: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> SoakResult:
    """Hold dialogues by concurrent clients until the time is over (dialogues that have begun are finished).

    Args:
        url: of the server.
        questions: asked in turn.
        clients: their number.
        seconds: duration; no dialogue begins after it.
        memory: returns the server's resident bytes.
        key: the server's API key.
        seed: of the clients' choices.
        say: receives a line of progress every half minute.
    """
    result, started = SoakResult(), time.monotonic()
    supply = cycle(questions)

    async def run_client(number: int) -> None:
        choices = random.Random(f"soak {seed} {number}")
        options = ClientOptions(turn=("commit", "server_vad")[number % 2], key=key)
        while time.monotonic() - started < seconds:
            await asyncio.sleep(choices.uniform(0.0, 1.0))
            await hold_dialogue(
                url, [next(supply) for _ in range(choices.randint(1, MAX_TURNS))], options, choices, result, started
            )

    watching = asyncio.create_task(watch(result, memory, started, say))
    try:
        await asyncio.gather(*(run_client(number) for number in range(clients)))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await check_freed(url, result)
    return result


async def hold_dialogue(
    url: str,
    questions: Sequence[SpokenQuestion],
    options: ClientOptions,
    choices: random.Random,
    result: SoakResult,
    started: float,
) -> None:
    """One dialogue: to its end, interrupted at its last turn, or disconnected in the middle of a reply."""
    draw = choices.random()
    try:
        async with RealtimeClient(url, options) as client:
            if draw < DISCONNECTING:
                await leave_midway(client, questions[0])
                result.num_left += 1
                return
            for number, question in enumerate(questions, 1):
                is_interrupted = number == len(questions) and draw < DISCONNECTING + INTERRUPTING
                began = time.monotonic() - started
                exchange = await client.ask(
                    question.id, question.speech, interrupt_after=choices.uniform(0, 0.5) if is_interrupted else None
                )
                if exchange.status not in ANSWERED and not (is_interrupted and exchange.status == "cancelled"):
                    result.errors.append(f"{began:.0f} s, {options.turn}: {exchange.status}: {exchange.reason}")
                    return
                result.exchanges.append((began, replace(exchange, pieces=[])))
    except (RealtimeClientError, OSError, TimeoutError, websockets.WebSocketException) as error:
        result.errors.append(f"{time.monotonic() - started:.0f} s, {options.turn}: {type(error).__name__}: {error}")


async def leave_midway(client: RealtimeClient, question: SpokenQuestion) -> None:
    """Ask, and abort the connection at the first audio of the reply."""
    await client.start(question.speech)
    while (await client.receive())["type"] not in ("response.output_audio.delta", "response.done"):
        pass
    client.socket.transport.abort()


async def watch(result: SoakResult, memory: Callable[[], int], started: float, say: Callable[[str], None]) -> None:
    """Sample the server's memory each second."""
    for second in range(1 << 30):
        await asyncio.sleep(max(0.0, started + second - time.monotonic()))
        size = memory()
        result.memory.append((time.monotonic() - started, size))
        if second % 30 == 0:
            say(f"{second:4d} s: {len(result.exchanges)} answers, {len(result.errors)} errors, {size / 2**20:.0f} MB")


async def check_freed(url: str, result: SoakResult) -> None:
    """Wait until the server counts no connection any more."""
    deadline = time.monotonic() + FREED_SECONDS
    while result.still_open and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        health = await asyncio.to_thread(read_health, url)
        result.still_open, result.is_healthy = int(health["talkers"]), health["status"] == "ok"


def read_health(url: str) -> dict[str, Any]:
    """The answer of ``/healthz``."""
    with urllib.request.urlopen(f"{url}/healthz", timeout=FREED_SECONDS) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def draw_memory(file: Path, result: SoakResult) -> None:
    """Write a PNG: the server's memory and the replies' time to first audio, over the time."""
    figure = Figure(figsize=(8, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([at for at, _ in result.memory], [size / 2**20 for _, size in result.memory], linewidth=1)
    upper.set(ylabel="server's memory, MB", ylim=(0, None))
    waits = [
        (at, exchange.first_audio_seconds)
        for at, exchange in result.exchanges
        if exchange.first_audio_seconds is not None
    ]
    lower.plot([at for at, _ in waits], [wait for _, wait in waits], ".", markersize=3)
    lower.set(ylabel="first audio after, s", xlabel="seconds", ylim=(0, None))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(file) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
