"""Fixtures of the language model's tests: a tiny corpus, and processes forked from this one."""

from __future__ import annotations

import multiprocessing
import os
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.bpe import train_bpe
from lm.corpora import write_corpus
from lm.formats import asr_document, interleaved_document, speech_document, text_document, tts_document
from lm.vocabulary import Vocabulary, build_vocabulary

SPEAKERS = ("anna", "bert")


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

    def corpora(self, *forms: str) -> dict[str, str]:
        return {form: str(self.folder / form) for form in forms}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    return TinyData(tmp_path_factory.mktemp("tiny"))


RunRanks = Callable[[Callable[[], Any], int], list[Any]]


@pytest.fixture(scope="session")
def run_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRanks]:
    """``run_ranks(work, size)`` runs ``work`` in ``size`` forked processes that share a gloo group.

    What is slow to import is imported here once. No group may be opened in this process itself: a fork would inherit
    gloo's objects without their threads, and hang when it collects them.
    """
    from lm import trainer  # noqa: F401

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
        answers = [pipe[0].recv() if pipe[0].poll(120) else ("hung", None) for pipe in pipes]
        for process in processes:
            process.join(5)
            process.kill()
        for state, value in answers:
            if isinstance(value, BaseException):
                raise value
            assert state == "good", f"a process failed: {state}\n{value}"
        return [value for _, value in answers]

    yield start


def _be_rank(work: Callable[[], Any], rank: int, size: int, store: Path, answer: Any) -> None:
    import torch
    import torch.distributed as dist

    from corpus.errors import UserError

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), SPEECHWEAVE_PROGRESS="file")
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
        answer.send(("good", work()))
    except UserError as error:
        answer.send(("user error", RuntimeError(str(error))))
    except BaseException:
        answer.send(("failed", traceback.format_exc()))
    finally:
        os._exit(0)


__all__ = ["TinyData", "Vocabulary"]
