"""Fixtures of the language model's tests: a tiny corpus, and processes forked from this one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lm.data.corpora import write_corpus
from lm.data.formats import asr_document, interleaved_document, speech_document, text_document, tts_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.training.config import LmTrainConfig
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from runtime.stage import Run

SPEAKERS = ("anna", "bert")


MODEL = {"layers": 4, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "vocabulary_multiple": 16}
LOOP = {
    "steps": 12,
    "sequence_length": 32,
    "micro_batch": 2,
    "global_batch": 8,
    "learning_rate": 1e-2,
    "final_learning_rate": 1e-3,
    "warmup_steps": 4,
    "log_every": 1,
    "validate_every": 0,
    "checkpoint_every": 0,
    "precision": "fp32",
}


class Trained(NamedTuple):
    losses: list[float]
    metrics: dict[str, Any]
    rows: list[dict[str, float]]


class TinyData:
    """A vocabulary of 40 made-up words and 32 speech codes, and a corpus of each format in ``folder``."""

    def __init__(self, folder: Path, num_texts: int = 60) -> None:
        draw = random.Random(0)
        words = ["".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(2)) for _ in range(40)]
        self.spoken = {word: [draw.randrange(32) for _ in range(3)] for word in words}
        self.texts = [" ".join(draw.choices(words, k=draw.randint(2, 6))) for _ in range(num_texts)]
        bpe = train_bpe(self.texts, 300)
        self.vocabulary = build_vocabulary(bpe, num_speech_tokens=32, speech_tokenizer="abc", speakers=SPEAKERS)
        self.folder = folder
        self.vocabulary.save_pretrained(folder / "vocabulary")
        for form in ("text", "speech", "asr", "tts", "interleaved"):
            documents = [self.document(form, number) for number in range(num_texts)]
            write_corpus(folder / form, form, self.vocabulary, documents[10:], documents[:10], {})

    def codes(self, text: str) -> np.ndarray:
        return np.array([code for word in text.split() for code in self.spoken[word]], dtype=np.uint16)

    def document(self, form: str, number: int) -> np.ndarray:
        text, vocabulary = self.texts[number], self.vocabulary
        if form == "text":
            return text_document(text, vocabulary)
        if form == "speech":
            return speech_document(self.codes(text), vocabulary)
        if form == "asr":
            return asr_document(self.codes(text), text, vocabulary)
        if form == "tts":
            return tts_document(text, self.codes(text), SPEAKERS[number % 2], vocabulary)
        first, rest = text.split(" ", 1)
        return interleaved_document([first, self.codes(rest)], vocabulary)

    def config(self, out: Path, **changes: Any) -> LmTrainConfig:
        """A tiny run; ``changes`` are of any of the nested configs."""
        nested: dict[str, Any] = {}
        for name, kind, values in (
            ("model", LmModelConfig, MODEL),
            ("parallel", ParallelConfig, {}),
            ("train", LoopConfig, LOOP),
        ):
            known = {key: changes.pop(key) for key in list(changes) if key in kind.__dataclass_fields__}
            nested[name] = kind(**{**values, **known})
        forms = changes.pop("forms", ("text", "tts", "interleaved"))
        corpora = {form: str(self.folder / form) for form in forms}
        return LmTrainConfig(
            out=str(out), vocabulary=str(self.folder / "vocabulary"), corpora=corpora, **nested, **changes
        )  # fmt: skip

    def train(self, out: Path, **changes: Any) -> Trained:
        """Train in this process (one of `run_ranks`)."""
        from lm.train import run

        out.mkdir(parents=True, exist_ok=True)
        metrics = run(self.config(out, **changes), Run(out))
        rows = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
        return Trained(losses=[row["loss"] for row in rows if "loss" in row], metrics=metrics, rows=rows)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    return TinyData(tmp_path_factory.mktemp("tiny"))


RunRanks = Callable[[Callable[[], Any], int], list[Any]]


@pytest.fixture(scope="session")
def run_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRanks]:
    """``run_ranks(work, size)`` runs ``work`` in ``size`` forked processes that share a gloo group.

    The answer is what each returned; None of a process that was killed.

    What is slow to import is imported here once. No group may be opened in this process itself: a fork would inherit
    gloo's objects without their threads, and hang when it collects them.
    """
    from lm.training import trainer  # noqa: F401

    folder = tmp_path_factory.mktemp("stores")
    number = 0

    def start(work: Callable[[], Any], size: int) -> list[Any]:
        nonlocal number
        number += 1
        store = folder / f"store-{number}"
        context = multiprocessing.get_context("fork")
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        processes = [
            context.Process(target=_be_rank, args=(work, rank, size, store, pipes[rank][1])) for rank in range(size)
        ]
        for process in processes:
            process.start()
        for _, sender in pipes:
            sender.close()
        answers = [_answer(receiver) for receiver, _ in pipes]
        for process in processes:
            process.join(5)
            process.kill()
        for state, value in answers:
            if isinstance(value, BaseException):
                raise value
            assert state in ("good", "killed"), f"a process failed: {state}\n{value}"
        return [value for _, value in answers]

    yield start


def _answer(receiver: Any) -> tuple[str, Any]:
    try:
        return receiver.recv() if receiver.poll(600) else ("hung", None)
    except EOFError:
        return "killed", None


def _be_rank(work: Callable[[], Any], rank: int, size: int, store: Path, answer: Any) -> None:
    import torch
    import torch.distributed as dist

    from runtime.errors import UserError

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), SPEECHWEAVE_PROGRESS="file")
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
        answer.send(("good", work()))
    except UserError as error:
        answer.send(("user error", RuntimeError(str(error))))
    except BaseException:
        answer.send(("failed", traceback.format_exc()))
