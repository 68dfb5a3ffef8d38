"""Talk to a served chatbot as people do, one and many at once: are the answers right, and how long does one wait?

    python -m evaluation.chat bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/chat_evaluation
    python -m evaluation.chat url=http://127.0.0.1:8000 corpus=runs/quickstart/corpus out=runs/chat_evaluation

Protocol (after 2411.17607 and GLM-4-Voice, evaluation of the chatbot): held-out spoken questions; S->T is the share of
written replies that end in the answer key, S->S that of the spoken ones by the transcript of the outside judge,
ASR-WER the word error rate between that transcript and the written reply. Besides, for each number of talkers, the
distribution of the time from the end of speech to the first audio, gaps in the playback, and how soon an interrupted
reply is silent. All of it over ``/v1/realtime``, at the pace of speech.

Writes <out>/chat.md (the table), latency.png, answers.jsonl (one line a question and condition), details.jsonl (with
the judge's transcripts), interruptions.jsonl and audio/. Conditions that are done are kept after a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import write_text
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from corpus.manifest import Utterance
    from runtime.journal import Journal

    from .served_chat.load_generator import SpokenQuestion
    from .served_chat.realtime_client import TalkOptions
    from .served_chat.records import Condition
    from .served_chat.table import Summary
    from .served_chat.talk import Talk

KEY_VARIABLE = "SPEECHWEAVE_API_KEY"


@dataclass(kw_only=True)
class ChatEvaluationConfig(StageConfig):
    """Options of evaluation.chat. A server's API key is taken from the environment: SPEECHWEAVE_API_KEY.

    Attributes:
        out: run folder.
        seed: chooses the questions, who asks them, and the talkers' pauses.
        corpus: output folder of corpus.build (questions.jsonl with the answer keys, sentences.txt for the judge).
        manifest: spoken questions; null takes the corpus's heldout_sentence.jsonl.
        bundle: a chatbot to serve on this machine while it is asked; give this or ``url``.
        url: a server that runs already.
        kind: only utterances of this kind; empty takes all.
        questions: asked under each condition, the same ones; 0 takes all.
        turns: who ends a turn: "commit" (the talker), "server_vad" (the server, by silence).
        talkers: closed loops: so many talk at once, each asks again when it has heard its reply out.
        rates: open loops: so many questions begin in a second, whether the server keeps up or not.
        dialogue_turns: questions of one dialogue, over one connection.
        interruptions: replies that are interrupted, for each of ``turns``.
        chunk_ms: speech is sent in pieces of this length.
        threads: CPU threads of the server started here.
        processes: the judge's processes.
    """

    corpus: str
    manifest: str | None = None
    bundle: str | None = None
    url: str | None = None
    kind: str = "question"
    questions: int = 48
    turns: list[str] = field(default_factory=lambda: ["commit", "server_vad"])
    talkers: list[int] = field(default_factory=lambda: [1, 4, 8])
    rates: list[float] = field(default_factory=list)
    dialogue_turns: int = 1
    interruptions: int = 8
    chunk_ms: int = 40
    threads: int = 1
    processes: int = 2

    def __post_init__(self) -> None:
        is_one = (self.bundle is None) != (self.url is None)
        check_option(is_one, "bundle", self.bundle, "give either bundle=<folder> or url=<server>")
        check_option(self.questions >= 0, "questions", self.questions, "give 0 (all) or more")
        known = bool(self.turns) and set(self.turns) <= {"commit", "server_vad"}
        check_option(known, "turns", self.turns, "name commit, server_vad or both")
        check_option(all(count >= 1 for count in self.talkers), "talkers", self.talkers, "give numbers from 1 on")
        check_option(all(rate > 0 for rate in self.rates), "rates", self.rates, "give numbers above 0")
        is_some = bool(self.talkers or self.rates)
        check_option(is_some, "talkers", self.talkers, "name at least one number of talkers, or a rate")
        check_option(self.dialogue_turns >= 1, "dialogue_turns", self.dialogue_turns, "give at least 1")
        check_option(self.interruptions >= 0, "interruptions", self.interruptions, "give 0 (none) or more")
        check_option(20 <= self.chunk_ms <= 100, "chunk_ms", self.chunk_ms, "give 20 to 100")
        for name in ("threads", "processes"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")

    @property
    def conditions(self) -> list[Condition]:
        """Everything that is measured, in order."""
        from .served_chat.records import Condition

        closed = [Condition(turn, talkers=count) for turn in self.turns for count in self.talkers]
        return closed + [Condition(turn, rate=rate) for turn in self.turns for rate in self.rates]


def run(config: ChatEvaluationConfig, run: Run) -> dict[str, Any]:
    """Ask under every condition, let the judge listen, write table and picture."""
    from corpus.manifest import read_manifest
    from corpus.world.questions import choose_questions
    from runtime.journal import Journal

    manifest = read_manifest(config.manifest or str(Path(config.corpus) / "heldout_sentence.jsonl"))
    chosen = choose_questions(manifest, kind=config.kind, limit=config.questions, draw=f"evaluation.chat {config.seed}")
    with Journal(run.folder / "conditions.jsonl") as journal:
        done = {record["condition"] for record in journal.records}
        wanted = [condition.label for condition in config.conditions]
        wanted += [f"{turn}.interrupted" for turn in config.turns] if config.interruptions else []
        if not done >= set(wanted):
            with server(config, run) as (url, cpu_seconds):
                asyncio.run(talk(config, run, journal, url, chosen, cpu_seconds))
        by_label = {record["condition"]: record for record in journal.records}
    return evaluate(config, run, by_label)


@contextmanager
def server(config: ChatEvaluationConfig, run: Run) -> Iterator[tuple[str, Callable[[], float | None]]]:
    """The server to ask: the one that runs, or one of the bundle that runs while the context is open.

    Yields:
        Its URL, and what tells the CPU seconds that it has taken (None where it is not ours).
    """
    if config.url is not None:
        yield config.url, lambda: None
        return
    from .served_chat.server import serve_bundle

    assert config.bundle is not None
    most = max([*config.talkers, *(8 for _ in config.rates)])
    with serve_bundle(config.bundle, run.folder / "server.log", max_talkers=most, threads=config.threads) as served:
        yield served.url, served.cpu_seconds


async def talk(
    config: ChatEvaluationConfig,
    run: Run,
    journal: Journal,
    url: str,
    chosen: Sequence[Utterance],
    cpu_seconds: Callable[[], float | None],
) -> None:
    """Hold the talks of every condition that is not done yet, and keep them."""
    from .served_chat.load_generator import hold_dialogue
    from .served_chat.records import Condition, keep_interruption, keep_talk

    questions = [spoken(utterance) for utterance in chosen]
    asked = {utterance.id: utterance for utterance in chosen}
    (cold,) = await hold_dialogue(url, questions[:1], talk_options(config, config.turns[0]))
    if cold.status == "error":
        raise UserError(url, found=f"the first question was not answered: {cold.reason}", remedy="see server.log")
    again = [questions[number % len(questions)] for number in range(config.interruptions)]
    wanted: list[tuple[str, Condition, list[SpokenQuestion], float | None]] = [
        (condition.label, condition, questions, None) for condition in config.conditions
    ]
    wanted += [(f"{turn}.interrupted", Condition(turn, talkers=1), again, 0.0) for turn in config.turns if again]
    done = {record["condition"] for record in journal.records}
    finished = sum(len(record["talks"]) for record in journal.records)
    with run.progress(sum(len(each[2]) for each in wanted), "talking", start=finished, unit="question") as bar:
        for label, condition, some, interrupt_after in wanted:
            if label in done:
                continue
            before = cpu_seconds()
            talks = await ask(config, url, condition, some, interrupt_after, lambda _: bar.update())
            after = cpu_seconds()
            if interrupt_after is None:
                kept = [keep_talk(each, asked[each.id], condition, run.folder) for each in talks]
            else:
                kept = [keep_interruption(each) for each in talks]
            spent = None if before is None or after is None else round(after - before, 2)
            load = round(os.getloadavg()[0], 2)
            journal.append({"condition": label, "load": load, "cpu_seconds": spent, "talks": kept})


async def ask(
    config: ChatEvaluationConfig,
    url: str,
    condition: Condition,
    questions: Sequence[SpokenQuestion],
    interrupt_after: float | None,
    on_talk: Callable[[Talk], None],
) -> list[Talk]:
    """Ask questions under a condition."""
    from .served_chat.load_generator import closed_loop, open_loop

    options = talk_options(config, condition.turn)
    if condition.rate:
        return await open_loop(url, questions, options, rate=condition.rate, seed=config.seed, on_talk=on_talk)
    return await closed_loop(
        url,
        questions,
        options,
        talkers=condition.talkers,
        dialogue_turns=config.dialogue_turns,
        interrupt_after=interrupt_after,
        seed=config.seed,
        on_talk=on_talk,
    )


def talk_options(config: ChatEvaluationConfig, turn: str) -> TalkOptions:
    """How the talkers of a condition talk."""
    from .served_chat.realtime_client import TalkOptions

    return TalkOptions(turn=turn, chunk_ms=config.chunk_ms, key=os.environ.get(KEY_VARIABLE))


def spoken(utterance: Utterance) -> SpokenQuestion:
    """A question of the manifest as a talker asks it."""
    from corpus.audio.files import SAMPLE_RATE, read_audio

    from .served_chat.load_generator import SpokenQuestion
    from .served_chat.talk import spoken_question

    return SpokenQuestion(utterance.id, spoken_question(read_audio(utterance.audio), SAMPLE_RATE))


def evaluate(config: ChatEvaluationConfig, run: Run, by_label: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Let the judge listen, score, write everything; the metrics."""
    from corpus.world.questions import read_questions

    from .judges.closed_world import load_judge
    from .judges.listening import listen
    from .question_answering import answers
    from .served_chat.table import draw_latency, markdown, summarise, summarise_interruptions

    labels = [condition.label for condition in config.conditions]
    records = {label: by_label[label]["talks"] for label in labels}
    write_lines(run.folder / "answers.jsonl", [record for label in labels for record in records[label]])
    questions = read_questions(config.corpus)
    answered = answers.read_answers(run.folder, lambda _, words: questions.get(words))
    heard = listen(load_judge(config.corpus), answers.listenings(answered), run, processes=config.processes)
    scored = answers.score(answered, heard)
    write_lines(run.folder / "details.jsonl", scored)
    rows: dict[str, Summary] = {}
    for label in labels:
        own = [row for row in scored if str(row["id"]).startswith(f"{label}/")]
        rows[label] = summarise(by_label[label], own)
    interrupted = {turn: by_label[f"{turn}.interrupted"]["talks"] for turn in config.turns if config.interruptions}
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
    table = markdown(rows, stops, machine())
    write_text(run.folder / "chat.md", table)
    run.say(table)
    metrics = {f"{label}.{key}": value for label, row in rows.items() for key, value in row.items()}
    return metrics | {f"{turn}.interrupted.{key}": value for turn, row in stops.items() for key, value in row.items()}


def write_lines(file: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    write_text(file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def machine() -> str:
    """What all of it ran on, in a line."""
    import importlib.metadata
    import platform

    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.machine()}, {cores} cores; Python {platform.python_version()}, {versions}"


STAGE = Stage(
    name="evaluation.chat",
    config=ChatEvaluationConfig,
    run=run,
    summary="Talk to a served chatbot, one and many at once: right answers, and how long one waits for them.",
    inputs=lambda config: [config.corpus, config.manifest, config.bundle],
    example="bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/chat_evaluation",
    speed_options=("processes",),
)

if __name__ == "__main__":
    STAGE.exit()
