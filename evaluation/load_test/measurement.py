"""Measurement of a served model at each number of concurrent talkers."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpus.manifest import Utterance, read_manifest
from corpus.world.questions import choose_questions
from evaluation.served_chat.completions_client import CompletionsClient
from evaluation.served_chat.config import KEY_VARIABLE
from evaluation.served_chat.load_generator import OpenClient, SpokenQuestion, closed_loop, load_question, warm_up
from evaluation.served_chat.realtime_client import ClientOptions, RealtimeClient
from evaluation.served_chat.server import server_of
from evaluation.served_chat.table import describe_machine
from runtime.artefact import write_json, write_text
from runtime.journal import Journal
from runtime.stage import Run

from .config import ServingConfig
from .metrics import METRICS, request_record, summarise_requests
from .page import Measurement, ServingPage, draw_latencies, html, markdown

CLIENTS: dict[str, OpenClient] = {"realtime": RealtimeClient, "chat_completions": CompletionsClient}


def measure_serving(config: ServingConfig, run: Run) -> dict[str, Any]:
    """Measure at every number of talkers that is not done yet; write the records, the table and the page."""
    chosen = spoken_questions(config)
    with Journal(run.folder / "measurements.jsonl") as journal:
        done = {record["talkers"] for record in journal.records}
        if not done >= set(config.talkers):
            log = run.folder / "server.log"
            with server_of(config.model, config.url, log, max_talkers=max(config.talkers), threads=config.threads) as (
                url,
                cpu_seconds,
            ):
                asyncio.run(ask_all(config, run, journal, url, chosen, cpu_seconds))
        by_talkers = {record["talkers"]: record for record in journal.records}
    return write_results(config, run, [by_talkers[count] for count in config.talkers])


def spoken_questions(config: ServingConfig) -> list[Utterance]:
    """The recordings to ask, in a seeded order."""
    data, kind = Path(config.data), config.kind
    if data.is_dir():
        data, kind = data / "heldout_sentence.jsonl", kind or "question"
    draw = f"evaluation.serving {config.seed}"
    return choose_questions(read_manifest(str(data)), kind=kind, limit=config.requests, draw=draw)


async def ask_all(
    config: ServingConfig,
    run: Run,
    journal: Journal,
    url: str,
    chosen: Sequence[Utterance],
    cpu_seconds: Callable[[], float | None],
) -> None:
    """Warm up by one request that does not count, then ask at each number of talkers."""
    recordings = [load_question(utterance) for utterance in chosen]
    repeated = [recordings[number % len(recordings)] for number in range(config.requests)]
    questions = [SpokenQuestion(f"{number}/{each.id}", each.speech) for number, each in enumerate(repeated)]
    options = ClientOptions(
        turn=config.turn, chunk_ms=config.chunk_ms, key=os.environ.get(KEY_VARIABLE), timeout=config.timeout
    )
    open_client = CLIENTS[config.interface]
    remedy = f"check model={config.model}, the key in {KEY_VARIABLE}, and server.log"
    await warm_up(url, questions[0], options, open_client, remedy=remedy)
    done = {record["talkers"] for record in journal.records}
    total, start = len(questions) * len(config.talkers), len(questions) * len(done & set(config.talkers))
    with run.progress(total, "asking", start=start, unit="request") as bar:
        for count in config.talkers:
            if count in done:
                continue
            before = cpu_seconds()
            exchanges = await closed_loop(
                url,
                questions,
                options,
                clients=count,
                seed=config.seed,
                on_exchange=lambda _: bar.update(),
                open_client=open_client,
            )
            after = cpu_seconds()
            spent = None if before is None or after is None else round((after - before) / len(questions), 3)
            records = [request_record(exchange) for exchange in exchanges]
            load = round(os.getloadavg()[0], 2)
            journal.append({"talkers": count, "load": load, "cpu_seconds": spent, "requests": records})


def write_results(config: ServingConfig, run: Run, measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write requests.jsonl, serving.json, serving.md, serving.png and serving.html; returns the metrics."""
    rows = [
        Measurement(each["talkers"], summarise_requests(each["requests"]), each["load"], each["cpu_seconds"])
        for each in measured
    ]
    interface = config.interface if config.interface != "realtime" else f"realtime, turns ended by {config.turn}"
    page = ServingPage(config.model, interface, describe_machine(), rows)
    lines = [{"talkers": each["talkers"]} | record for each in measured for record in each["requests"]]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(run.folder / "requests.jsonl", text)
    write_json(
        run.folder / "serving.json",
        {
            "model": config.model,
            "interface": config.interface,
            "turn": config.turn,
            "machine": page.machine,
            "definitions": {metric.name: metric.definition for metric in METRICS},
            "measurements": [
                {"talkers": row.talkers, "load": row.load, "cpu_seconds_per_request": row.cpu_seconds} | row.summary
                for row in rows
            ],
        },
    )
    write_text(run.folder / "serving.md", markdown(page))
    draw_latencies(run.folder / "serving.png", rows)
    write_text(run.folder / "serving.html", html(page, run.folder / "serving.png"))
    run.say(markdown(page))
    return {f"{row.talkers}.{key}": value for row in rows for key, value in row.summary.items()}
