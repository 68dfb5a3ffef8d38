"""Evaluation of a served chatbot: questions over the Realtime protocol under each condition, scored by the judge."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.manifest import Utterance, read_manifest
from corpus.world.questions import choose_questions, read_questions
from evaluation.judges.closed_world import load_judge
from evaluation.judges.transcription import transcribe_all
from evaluation.question_answering import answers
from runtime.artefact import write_text
from runtime.journal import Journal
from runtime.stage import Run

from .config import KEY_VARIABLE, ChatEvaluationConfig
from .exchange import Exchange
from .load_generator import SpokenQuestion, closed_loop, load_question, open_loop, warm_up
from .realtime_client import ClientOptions
from .records import Condition, interruption_record, save_exchange
from .server import server_of
from .table import Summary, describe_machine, draw_latency, markdown, summarise, summarise_interruptions

OPEN_LOOP_CLIENTS = 8  # concurrent clients that the server started for an open loop admits


class Round(NamedTuple):
    """Questions asked under one condition: its label in metrics and files, and when replies are interrupted."""

    label: str
    condition: Condition
    questions: Sequence[SpokenQuestion]
    interrupt_after: float | None = None


def evaluate_chat(config: ChatEvaluationConfig, run: Run) -> dict[str, Any]:
    """Ask under every condition, let the judge transcribe, write table and picture; returns the metrics."""
    manifest = read_manifest(config.manifest or str(Path(config.corpus) / "heldout_sentence.jsonl"))
    chosen = choose_questions(manifest, kind=config.kind, limit=config.questions, draw=f"evaluation.chat {config.seed}")
    with Journal(run.folder / "conditions.jsonl") as journal:
        done = {record["condition"] for record in journal.records}
        wanted = [condition.label for condition in conditions(config)]
        wanted += [interrupted_label(turn) for turn in config.turns] if config.interruptions else []
        if not done >= set(wanted):
            most = max([*config.talkers, *(OPEN_LOOP_CLIENTS for _ in config.rates)])
            with server_of(
                config.bundle, config.url, run.folder / "server.log", max_talkers=most, threads=config.threads
            ) as (url, cpu_seconds):
                asyncio.run(ask_all(config, run, journal, url, chosen, cpu_seconds))
        by_label = {record["condition"]: record for record in journal.records}
    return score(config, run, by_label)


def conditions(config: ChatEvaluationConfig) -> list[Condition]:
    """All conditions but the interruptions, in order."""
    closed = [Condition(turn, talkers=count) for turn in config.turns for count in config.talkers]
    return closed + [Condition(turn, rate=rate) for turn in config.turns for rate in config.rates]


def interrupted_label(turn: str) -> str:
    """The label of the interrupted replies of a kind of turn."""
    return f"{turn}.interrupted"


async def ask_all(
    config: ChatEvaluationConfig,
    run: Run,
    journal: Journal,
    url: str,
    chosen: Sequence[Utterance],
    cpu_seconds: Callable[[], float | None],
) -> None:
    """Ask under every condition that is not done yet, and append its records to the journal."""
    questions = [load_question(utterance) for utterance in chosen]
    asked = {utterance.id: utterance for utterance in chosen}
    remedy = f"check the key in {KEY_VARIABLE}, and server.log"
    await warm_up(url, questions[0], client_options(config, config.turns[0]), remedy=remedy)
    again = [questions[number % len(questions)] for number in range(config.interruptions)]
    rounds = [Round(condition.label, condition, questions) for condition in conditions(config)]
    rounds += [Round(interrupted_label(turn), Condition(turn, talkers=1), again, 0.0) for turn in config.turns if again]
    done = {record["condition"] for record in journal.records}
    finished = sum(len(record["talks"]) for record in journal.records)
    with run.progress(sum(len(each.questions) for each in rounds), "asking", start=finished, unit="question") as bar:
        for each in rounds:
            if each.label in done:
                continue
            before = cpu_seconds()
            exchanges = await ask(config, url, each, lambda _: bar.update())
            after = cpu_seconds()
            if each.interrupt_after is None:
                records = [save_exchange(one, asked[one.id], each.condition, run.folder) for one in exchanges]
            else:
                records = [interruption_record(one) for one in exchanges]
            spent = None if before is None or after is None else round(after - before, 2)
            load = round(os.getloadavg()[0], 2)
            journal.append({"condition": each.label, "load": load, "cpu_seconds": spent, "talks": records})


async def ask(
    config: ChatEvaluationConfig, url: str, each: Round, on_exchange: Callable[[Exchange], None]
) -> list[Exchange]:
    """Ask the questions of a round."""
    options, condition = client_options(config, each.condition.turn), each.condition
    if condition.rate:
        return await open_loop(
            url, each.questions, options, rate=condition.rate, seed=config.seed, on_exchange=on_exchange
        )
    return await closed_loop(
        url,
        each.questions,
        options,
        clients=condition.talkers,
        dialogue_turns=config.dialogue_turns,
        interrupt_after=each.interrupt_after,
        seed=config.seed,
        on_exchange=on_exchange,
    )


def client_options(config: ChatEvaluationConfig, turn: str) -> ClientOptions:
    """The options of the clients under conditions with this kind of turn."""
    return ClientOptions(turn=turn, chunk_ms=config.chunk_ms, key=os.environ.get(KEY_VARIABLE))


def score(config: ChatEvaluationConfig, run: Run, by_label: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Let the judge transcribe, score, write everything; returns the metrics."""
    labels = [condition.label for condition in conditions(config)]
    records = {label: by_label[label]["talks"] for label in labels}
    write_lines(run.folder / "answers.jsonl", [record for label in labels for record in records[label]])
    questions = read_questions(config.corpus)
    answered = answers.read_answers(run.folder, lambda _, words: questions.get(words))
    transcripts = transcribe_all(
        load_judge(config.corpus), answers.replies_to_transcribe(answered), run, processes=config.processes
    )
    scored = answers.score(answered, transcripts)
    write_lines(run.folder / "details.jsonl", scored)
    rows: dict[str, Summary] = {}
    for label in labels:
        own = [row for row in scored if str(row["id"]).startswith(f"{label}/")]
        rows[label] = summarise(by_label[label], own)
    interrupted = {turn: by_label[interrupted_label(turn)]["talks"] for turn in config.turns if config.interruptions}
    write_lines(
        run.folder / "interruptions.jsonl",
        [{"turn": turn} | record for turn, some in interrupted.items() for record in some],
    )
    stops = {turn: summarise_interruptions(some) for turn, some in interrupted.items()}
    waits = {
        label: [record["first_audio"] for record in some if record["first_audio"] is not None]
        for label, some in records.items()
    }
    draw_latency(run.folder / "latency.png", waits)
    table = markdown(rows, stops, describe_machine())
    write_text(run.folder / "chat.md", table)
    run.say(table)
    metrics = {f"{label}.{key}": value for label, row in rows.items() for key, value in row.items()}
    return metrics | {
        f"{interrupted_label(turn)}.{key}": value for turn, row in stops.items() for key, value in row.items()
    }


def write_lines(file: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    write_text(file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
