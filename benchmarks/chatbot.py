"""Latency of a served chatbot, compared with the same models without streaming, and a soak test.

    python -m benchmarks.chatbot latency --bundle runs/quickstart/bundle --corpus runs/quickstart/corpus
    python -m benchmarks.chatbot soak --bundle runs/quickstart/bundle --corpus runs/quickstart/corpus --minutes 10

latency   1, 4 and 8 clients (closed loops, real-time speech, manual commit) at our server, and the same at a baseline
          "one after the other, without streaming": the same models in one process, which takes a complete question,
          encodes all of it, generates and decodes the whole reply, and only then takes the next one. Seconds from the
          end of the question to the first sample, and the ratio of baseline and server.
batch     1, 4 and 8 conversations of one engine in this process, all of which ask at once: their speech encoded and
          decoded in one batch (``max_batch``) and one after the other, in turns. CPU seconds of all replies, seconds to
          the first sample, and the ratios.
soak      8 clients for 10 minutes, half of them with an open microphone, some of which interrupt or disconnect in the
          middle of a reply: errors, the server's memory each second with the slope of a line through it, connections
          still open at the end. Writes soak.json and soak.png.

Latencies are wall clock; the load of the machine is printed with them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta
from chatbot.engine.options import EngineOptions
from corpus.audio.files import SAMPLE_RATE, Samples, read_audio
from corpus.manifest import Utterance, read_manifest
from corpus.world.questions import choose_questions
from evaluation.load_test.metrics import request_record, summarise_requests
from evaluation.served_chat.exchange import ANSWERED
from evaluation.served_chat.load_generator import PAUSE_SECONDS, closed_loop, load_question
from evaluation.served_chat.realtime_client import ClientOptions
from evaluation.served_chat.server import ServedBundle, serve_bundle
from evaluation.served_chat.soak import SoakResult, draw_memory, soak
from evaluation.served_chat.table import Summary, describe_machine, quantiles
from lm.data.formats import chat_prompt
from lm.inference.generation import Generator
from lm.inference.output_head import Allowed
from runtime.artefact import write_json
from runtime.command import Command
from runtime.config import Options, option


@dataclass(kw_only=True)
class ChatbotBenchmarkConfig(Options):
    """Options of benchmarks.chatbot.

    Attributes:
        part: latency, batch or soak.
        bundle: the chatbot.
        corpus: output folder of corpus.build, with the spoken questions.
        questions: of a round, the same ones in each.
        talkers: concurrent clients; by default 1, 4 and 8 for latency and batch (a round each), 8 for soak.
        minutes: of the soak.
        threads: CPU threads of each model.
        seed: chooses the questions and the clients' pauses.
        out: folder for logs and figures.
    """

    part: str = option(one_of=("latency", "batch", "soak"))
    bundle: str = "runs/quickstart/bundle"
    corpus: str = "runs/quickstart/corpus"
    questions: int = option(32, at_least=1)
    talkers: list[int] = option([], at_least=1)
    minutes: float = option(10.0, above=0)
    threads: int = option(1, at_least=1)
    seed: int = 1
    out: str = "runs/chatbot_benchmark"


def run(config: ChatbotBenchmarkConfig) -> None:
    """Run the part that the command line names."""
    Path(config.out).mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(str(Path(config.corpus) / "heldout_sentence.jsonl"))
    chosen = choose_questions(
        manifest, kind="question", limit=config.questions, draw=f"benchmarks.chatbot {config.seed}"
    )
    print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f}\n", flush=True)
    if config.part == "latency":
        report_latency(config, chosen)
    elif config.part == "batch":
        report_batch(config, chosen)
    else:
        report_soak(config, chosen)


def report_latency(config: ChatbotBenchmarkConfig, chosen: Sequence[Utterance]) -> None:
    """Print and write the latencies of our server and of the baseline, for each number of clients."""
    counts = config.talkers or [1, 4, 8]
    found: dict[str, Any] = {"machine": describe_machine(), "questions": len(chosen), "rounds": []}
    print("first audio after the end of the question, seconds (p50 p90 p99)")
    print(f"{'clients':>8}  {'served, streaming':24}{'one after the other':24}{'ratio p50':>10}{'p99':>7}{'load':>6}")
    halves = [chosen[::2], chosen[1::2]]  # alternately, so that other load affects both alike
    with serve_bundle(
        config.bundle, Path(config.out) / "server.log", max_talkers=max(counts), threads=config.threads
    ) as served:
        baseline = Baseline(Path(config.bundle), config.threads)
        ours(served, chosen[:2], 1, config.seed)  # warms up
        for count in counts:
            records, waits = list[dict[str, Any]](), list[float]()
            for half in filter(None, halves):
                records += ours(served, half, count, config.seed)
                waits += baseline.ask(half, count, config.seed)
            own, theirs = summarise_requests(records), quantiles("audio_ttfp", waits)
            load = os.getloadavg()[0]
            ratios = [theirs[f"audio_ttfp.{key}"] / own[f"audio_ttfp.{key}"] for key in ("p50", "p99")]
            line = f"{count:>8}  {shown(own):24}{shown(theirs):24}{ratios[0]:>10.2f}{ratios[1]:>7.2f}{load:>6.1f}"
            print(line, flush=True)
            found["rounds"].append({"talkers": count, "served": own, "peer": theirs, "load": load})
    write_json(Path(config.out) / "latency.json", found)


def shown(summary: Summary) -> str:
    """Three quantiles."""
    return " ".join(f"{summary[f'audio_ttfp.{key}']:.2f}" for key in ("p50", "p90", "p99"))


def ours(served: ServedBundle, chosen: Sequence[Utterance], talkers: int, seed: int) -> list[dict[str, Any]]:
    """The metrics of each request at our server, as those of `evaluation.serving`."""
    questions = [load_question(utterance) for utterance in chosen]
    exchanges = asyncio.run(closed_loop(served.url, questions, ClientOptions(), clients=talkers, seed=seed))
    failed = [exchange.reason for exchange in exchanges if exchange.status not in ANSWERED]
    if failed:
        raise SystemExit(f"{len(failed)} questions were not answered: {failed[0]}")
    return [request_record(exchange) for exchange in exchanges]


def answer_whole(bundle: Bundle, question: Samples) -> Samples:
    """The text-guided reply to one question, each step complete before the next begins."""
    assert isinstance(bundle.generator, Generator) and bundle.tokenizer is not None
    generator, v, reply = bundle.generator, bundle.vocabulary, bundle.settings.reply
    row = chat_prompt(bundle.tokenizer.encode([question])[0], v)
    most = reply.max_text_tokens
    parts: list[tuple[str, Allowed, int]] = [("assistant", "text", most), ("begin_of_audio", "text", most)]
    parts.append(("end_of_audio", "speech", bundle.max_speech_tokens))
    if reply.transcribe_first:
        row = np.append(row, v.special("transcript"))
    else:
        parts = parts[1:]
    for stop, allowed, limit in parts:
        mark = v.special(stop)
        (made,) = generator.generate([row], max_new_tokens=limit, stop=[mark], allowed=allowed)
        row = np.concatenate([row, made] if len(made) and made[-1] == mark else [row, made, [mark]])
    codes = v.codes(made)
    return bundle.decoder.decode(codes, bundle.settings.voice) if len(codes) else np.zeros(0, np.float32)


class Baseline:
    """Baseline: the same models, one question after the other, without streaming.

    Args:
        bundle: the chatbot.
        threads: CPU threads of each model.
    """

    def __init__(self, bundle: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self.bundle = Bundle.from_pretrained(bundle)
        self.sample_rate = self.bundle.decoder.sample_rate

    def ask(self, chosen: Sequence[Utterance], talkers: int, seed: int) -> list[float]:
        """Seconds to the first audio for clients that speak, wait, listen and pause as those at the server."""
        left = [read_audio(utterance.audio) for utterance in chosen][::-1]
        answer_whole(self.bundle, left[-1])  # warm-up of torch
        waits: list[float] = []

        async def run_client(number: int, worker: ThreadPoolExecutor) -> None:
            pauses, loop = random.Random(f"talker {seed} {number}"), asyncio.get_running_loop()
            while left:
                question = left.pop()
                await asyncio.sleep(pauses.uniform(0.0, 2 * PAUSE_SECONDS) + len(question) / SAMPLE_RATE)
                ended = time.monotonic()
                speech = await loop.run_in_executor(worker, answer_whole, self.bundle, question)
                waits.append(time.monotonic() - ended)
                await asyncio.sleep(len(speech) / self.sample_rate)

        async def run_all() -> None:
            with ThreadPoolExecutor(1) as worker:
                await asyncio.gather(*(run_client(number, worker) for number in range(talkers)))

        asyncio.run(run_all())
        return waits


def report_batch(config: ChatbotBenchmarkConfig, chosen: Sequence[Utterance]) -> None:
    """Print and write the cost of replies in batches and one after the other, for each number of conversations."""
    torch.set_num_threads(config.threads)
    bundle, counts = Bundle.from_pretrained(config.bundle), config.talkers or [1, 4, 8]
    questions = [read_audio(utterance.audio) for utterance in chosen]
    found: dict[str, Any] = {"machine": describe_machine(), "questions": len(chosen), "rounds": []}
    print("all conversations ask at once: CPU seconds a reply, seconds to the first sample (p50)")
    print(f"{'talkers':>8}  {'one batch':>16}{'one by one':>18}{'ratio CPU':>11}{'first':>7}{'load':>6}")
    for count in counts:
        costs: dict[int, list[Round]] = {count: [], 1: []}
        takes = [questions[start : start + count] for start in range(0, len(questions) - count + 1, count)]
        for number, asked in enumerate(takes):
            for most in (count, 1) if number % 2 else (1, count):  # in turns, so that other load affects both alike
                made = asyncio.run(ask_at_once(bundle, asked, most))
                if number:  # the first round warms up
                    costs[most if count > 1 else 1].append(made)
        if not costs[count]:
            raise SystemExit(f"give questions={2 * count} or more: a round of {count} warms up")
        means = {most: float(np.mean([made.cpu for made in own])) / count for most, own in costs.items()}
        first = {most: float(np.median([wait for made in own for wait in made.waits])) for most, own in costs.items()}
        ratios = means[1] / means[count], first[1] / first[count]
        line = f"{count:>8}  {means[count]:7.3f} {first[count]:8.3f}  {means[1]:8.3f} {first[1]:8.3f}"
        print(f"{line}  {ratios[0]:9.2f}{ratios[1]:7.2f}{os.getloadavg()[0]:6.1f}", flush=True)
        found["rounds"].append({"talkers": count, "cpu": means, "first_audio": first, "ratios": ratios})
    write_json(Path(config.out) / "batch.json", found)


class Round(NamedTuple):
    """CPU seconds of a round of replies, and the seconds to the first sample of each."""

    cpu: float
    waits: list[float]


async def ask_at_once(bundle: Bundle, questions: Sequence[Samples], max_batch: int) -> Round:
    """Let as many conversations as questions ask at the same time."""
    engine = Engine(bundle, EngineOptions(max_talkers=len(questions), max_batch=max_batch, threads=1))

    async def ask(question: Samples) -> float | None:
        conversation = engine.open()
        conversation.feed(question)
        await conversation.commit()
        asked, waited = time.perf_counter(), None
        async for event in conversation.respond():
            if waited is None and isinstance(event, AudioDelta):
                waited = time.perf_counter() - asked
        conversation.close()
        return waited

    started = time.process_time()
    waits = await asyncio.gather(*map(ask, questions))
    spent = time.process_time() - started
    await engine.close(0)
    return Round(spent, [wait for wait in waits if wait is not None])


def report_soak(config: ChatbotBenchmarkConfig, chosen: Sequence[Utterance]) -> None:
    """Print and write the results of the soak test."""
    talkers = (config.talkers or [8])[0]
    questions = [load_question(utterance) for utterance in chosen]
    with serve_bundle(
        config.bundle, Path(config.out) / "server.log", max_talkers=talkers, threads=config.threads
    ) as served:
        result: SoakResult = asyncio.run(
            soak(
                served.url,
                questions,
                clients=talkers,
                seconds=60 * config.minutes,
                memory=served.memory,
                seed=config.seed,
                say=lambda line: print(line, flush=True),
            )
        )
    summary = result.summary()
    print(json.dumps(summary, indent=2))
    for reason in result.errors[:10]:
        print(f"error: {reason}")
    record = {"machine": describe_machine(), "talkers": talkers, "minutes": config.minutes, "load": os.getloadavg()[0]}
    write_json(Path(config.out) / "soak.json", record | summary | {"reasons": result.errors, "memory": result.memory})
    draw_memory(Path(config.out) / "soak.png", result)


COMMAND = Command(
    name="benchmarks.chatbot",
    words="benchmarks chatbot",
    config=ChatbotBenchmarkConfig,
    run=run,
    summary="Latency and soak benchmark of a served chatbot.",
    example="python -m benchmarks.chatbot latency --bundle runs/quickstart/bundle --corpus runs/quickstart/corpus",
    positional="part",
    notes=__doc__,
)

if __name__ == "__main__":
    COMMAND.exit()
