"""Answering of an evaluation set by a model behind an OpenAI-compatible endpoint, one journalled request an item."""

from __future__ import annotations

import base64
import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from corpus.audio.files import encode_wav
from evaluation.benchmarks.benchmark import Benchmark
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.judges.recognisers import find_recogniser
from evaluation.served_chat.server import serve_bundle
from evaluation.sets.item import EvaluationItem, EvaluationSet
from evaluation.sets.reading import read_set, set_digest
from runtime.artefact import atomic_path, file_digest
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, UnansweredError
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.journal import Journal
from runtime.stage import Run

from .answer_file import AnswerHeader, ModelAnswer, write_answers
from .config import AnswerConfig

ANSWERED, TRANSCRIBED = "answered.jsonl", "transcribed.jsonl"
FILES_AT_ONCE = 8
MAX_SEED = 1 << 31
EARLY = 20  # failures before their share is looked at


def answer_set(config: AnswerConfig, run: Run) -> dict[str, Any]:
    """Ask every item, transcribe spoken replies, write the answers; returns their numbers."""
    benchmark = BENCHMARKS[config.benchmark]
    found = chosen_items(benchmark, config)
    with endpoint(config, run) as (client, digest):
        answers = ask_all(config, benchmark, found, client, run)
    answers = with_transcripts(config, answers, run)
    recogniser = find_recogniser(config.recogniser).name if config.is_spoken else ""
    header = AnswerHeader(
        benchmark=benchmark.name,
        data=config.data,
        set_digest=found.digest,
        items=len(found.items),
        left_out=len(found.left_out),
        repeated=len(found.repeated),
        model=config.served_model or Path(config.model).name,
        model_digest=digest,
        direction=config.direction,
        recogniser=recogniser,
        seed=config.seed,
        settings={
            "temperature": config.temperature,
            "max_new_tokens": config.max_new_tokens or benchmark.max_new_tokens,
            "system": config.system,
            "instruction": benchmark.instruction,
            "limit": config.limit,
        },
    )
    write_answers(run.folder, header, answers)
    failures = Counter(answer.failure for answer in answers if answer.failure)
    for reason, count in failures.most_common(3):
        run.say(f"no answer to {count} of {len(answers)} items: {reason}")
    return {"items": len(answers), "failures": failures.total(), "left_out": len(found.left_out)}


def chosen_items(benchmark: Benchmark, config: AnswerConfig) -> EvaluationSet:
    """The items to ask: all, or a seeded choice in the order of the set."""
    found = read_set(
        benchmark.name,
        config.data,
        benchmark.read_item,
        max_bad_share=config.max_bad_share,
        needs_audio=config.is_heard,
    )
    if not config.limit or config.limit >= len(found.items):
        return found
    kept = set(random.Random(f"evaluation.answer {config.seed}").sample(range(len(found.items)), config.limit))
    items = tuple(item for number, item in enumerate(found.items) if number in kept)
    return replace(found, items=items, digest=set_digest(items))


@contextlib.contextmanager
def endpoint(config: AnswerConfig, run: Run) -> Iterator[tuple[ChatEndpoint, str]]:
    """The client of the model, and the model's digest; a bundle is served while the context is open."""
    if config.is_url:
        name, digest = served_model(config.model, config.served_model)
        yield ChatEndpoint(config.model, name, config.requests, "requests"), digest
        return
    log = run.folder / "server.log"
    with serve_bundle(config.model, log, max_talkers=config.requests.concurrency, threads=config.threads) as served:
        name, _ = served_model(f"{served.url}/v1", "")
        digest = file_digest(config.model)
        yield ChatEndpoint(f"{served.url}/v1", name, config.requests, "requests"), digest


def served_model(url: str, name: str) -> tuple[str, str]:
    """The name of the model at a URL (its first where none is named), and what the server says of it.

    Raises:
        UserError: nobody answers there, or it has no such model.
    """
    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=30)
        response.raise_for_status()
        models = {str(one["id"]): one for one in response.json()["data"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        if name:  # endpoints without a list of models exist
            return name, "unknown"
        raise UserError(
            url, found=f"no list of models ({error})", remedy="check the URL, or set served_model"
        ) from error
    if not models or (name and name not in models):
        raise UserError(url, found=f"no model {name!r}", remedy=f"it has {', '.join(models) or 'none'}")
    chosen = name or next(iter(models))
    return chosen, str(models[chosen].get("created", "unknown"))


def ask_all(
    config: AnswerConfig, benchmark: Benchmark, found: EvaluationSet, client: ChatEndpoint, run: Run
) -> list[ModelAnswer]:
    """The answers to all items, in order; those in the journal are not asked again, failures are.

    Raises:
        UserError: the endpoint refuses, or more than ``requests.max_failed_share`` of the items have no answer.
    """
    with Journal(run.folder / ANSWERED) as journal:
        done = {str(record["id"]): ModelAnswer(**record) for record in journal.records}
        left = [item for item in found.items if item.id not in done]
        failures = Counter[str]()
        bar = run.progress(len(found.items), "answers", start=len(found.items) - len(left), unit="item")
        with bar, ThreadPoolExecutor(config.requests.concurrency) as pool:
            made = pool.map(lambda item: ask(config, benchmark, item, client, run.folder), left)
            for number, answer in enumerate(made, 1):
                if answer.failure:
                    failures.update([answer.failure])
                else:
                    journal.append(asdict(answer))
                done[answer.id] = answer
                bar.update()
                if failures.total() >= EARLY:
                    check_failures(failures, number, config)
        check_failures(failures, len(found.items), config)
    return [done[item.id] for item in found.items]


def check_failures(failures: Counter[str], asked: int, config: AnswerConfig) -> None:
    """Raise a `UserError` where too many items have no answer."""
    if failures.total() > config.requests.max_failed_share * max(asked, 1):
        reason, count = failures.most_common(1)[0]
        found = f"no answer to {failures.total()} of {asked} items ({count} times: {reason})"
        remedy = f"call again: answers are kept; or raise requests.max_failed_share={config.requests.max_failed_share}"
        raise UserError(config.model, found=found, remedy=remedy)


def ask(
    config: AnswerConfig, benchmark: Benchmark, item: EvaluationItem, client: ChatEndpoint, folder: Path
) -> ModelAnswer:
    """The answer to one item; a failure is an answer with its reason."""
    try:
        request = ChatRequest(item.id, messages_of(config, benchmark, item), parameters_of(config, benchmark, item))
        message = client.ask(request, lambda body: read_message(body, config.is_spoken))
    except UnansweredError as error:
        return ModelAnswer(id=item.id, failure=str(error))
    audio = None
    if config.is_spoken:
        audio = f"audio/{seed_of(item.id):016x}.wav"
        with atomic_path(folder / audio) as temporary:
            temporary.write_bytes(base64.b64decode(message["audio"]["data"]))
    return ModelAnswer(id=item.id, text=message["text"], audio=audio, heard=message["heard"])


def messages_of(config: AnswerConfig, benchmark: Benchmark, item: EvaluationItem) -> list[dict[str, Any]]:
    """The messages of a request: the prompt as text, or its audio with the benchmark's instruction."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": config.system}] if config.system else []
    if not config.is_heard:
        return [*messages, {"role": "user", "content": item.prompt}]
    assert item.audio is not None
    data = base64.b64encode(encode_wav(item.audio.read())).decode()
    parts: list[dict[str, Any]] = [{"type": "text", "text": benchmark.instruction}] if benchmark.instruction else []
    parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
    return [*messages, {"role": "user", "content": parts}]


def parameters_of(config: AnswerConfig, benchmark: Benchmark, item: EvaluationItem) -> dict[str, Any]:
    """Further fields of a request's body: greedy or seeded by the item, so that the order of items changes nothing."""
    fields: dict[str, Any] = {
        "temperature": config.temperature,
        "max_completion_tokens": config.max_new_tokens or benchmark.max_new_tokens,
    }
    if config.temperature > 0:
        fields["seed"] = seed_of(config.seed, item.id) % MAX_SEED
    if config.is_spoken:
        fields |= {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}}
    return fields


def read_message(body: Any, is_spoken: bool) -> dict[str, Any]:
    """Text, audio and own transcript in a response; raises `ValueError` where the asked medium is missing."""
    message = body["choices"][0]["message"]
    audio = message.get("audio")
    text = message.get("content")
    if is_spoken:
        if not audio or not audio.get("data"):
            raise ValueError("no audio")
        text = text or audio.get("transcript")
    elif not isinstance(text, str):
        raise ValueError("no text")
    return {"text": text, "audio": audio, "heard": body.get("heard")}


def with_transcripts(config: AnswerConfig, answers: Sequence[ModelAnswer], run: Run) -> list[ModelAnswer]:
    """The answers with the recogniser's transcripts of their speech; transcripts are kept one by one."""
    spoken = [answer for answer in answers if answer.audio is not None]
    if not spoken:
        return list(answers)
    recogniser = find_recogniser(config.recogniser)
    with Journal(run.folder / TRANSCRIBED) as journal:
        texts = {str(record["id"]): str(record["text"]) for record in journal.records}
        left = [answer for answer in spoken if answer.id not in texts]
        with run.progress(len(spoken), "transcripts", start=len(spoken) - len(left), unit="file") as bar:
            for start in range(0, len(left), FILES_AT_ONCE):
                part = left[start : start + FILES_AT_ONCE]
                heard = recogniser.transcribe([run.folder / str(answer.audio) for answer in part])
                for answer, text in zip(part, heard, strict=True):
                    journal.append({"id": answer.id, "text": text})
                    texts[answer.id] = text
                bar.update(len(part))
    return [replace(answer, transcript=texts.get(answer.id)) for answer in answers]
