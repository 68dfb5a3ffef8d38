"""Tiny corpora of the language model (codes, stored vectors, recordings), and trainings in forked processes.

from tests.support.tiny_lm import TinyData, run_ranks
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import tarfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpus.audio.files import write_audio
from lm.data.clips import AudioClip, ClipDocument, ClipRecord, FeatureClip
from lm.data.corpora import write_corpus
from lm.data.formats import (
    ChatTurn,
    asr_document,
    chat_document,
    interleaved_document,
    speech_document,
    text_document,
    tts_document,
)
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.training.config import LmTrainConfig
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from lm.training.speech_config import ConnectorConfig, SpeechConfig
from runtime.stage import Run
from tests.support.permits import wait_for

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

    def __init__(self, folder: Path, num_texts: int = 60, speech_tokenizer: str = "abc") -> None:
        draw = random.Random(0)
        words = ["".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(2)) for _ in range(40)]
        self.spoken = {word: [draw.randrange(32) for _ in range(3)] for word in words}
        self.texts = [" ".join(draw.choices(words, k=draw.randint(2, 6))) for _ in range(num_texts)]
        bpe = train_bpe(self.texts, 300)
        self.vocabulary = build_vocabulary(
            bpe, num_speech_tokens=32, speech_tokenizer=speech_tokenizer, speakers=SPEAKERS
        )
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
        from lm.train import STAGE

        out.mkdir(parents=True, exist_ok=True)
        metrics = STAGE.run(self.config(out, **changes), Run(out))
        rows = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
        return Trained(losses=[row["loss"] for row in rows if "loss" in row], metrics=metrics, rows=rows)


WIDTH = 12


class VectorData(TinyData):
    """The same words in a vocabulary whose speech is read as vectors, stored ones: 2 or 3 noisy ones of each word."""

    def __init__(self, folder: Path, num_texts: int = 60, stride: int = 1) -> None:
        super().__init__(folder / "codes", num_texts)
        self.folder, self.stride = folder, stride
        self.vocabulary = build_vocabulary(train_bpe(self.texts, 300), num_speech_tokens=1, speech_tokenizer="hearing")
        self.vocabulary.save_pretrained(folder / "vocabulary")
        self.random = np.random.default_rng(1)
        self.table = self.random.standard_normal((32, WIDTH))
        self.begin()
        for form in ("asr", "interleaved"):
            documents = [self.clip_document(form, number) for number in range(num_texts)]
            write_corpus(folder / form, form, self.vocabulary, documents[10:], documents[:10], {}, clips=self.record)
        documents = [self.dialogue(number) for number in range(num_texts)]
        record, heard = self.record, (documents[10:], documents[:10])
        write_corpus(folder / "chat", "chat", self.vocabulary, *heard, {}, clips=record, has_transcripts=True)
        self.finish()
        texts = [text_document(text, self.vocabulary) for text in self.texts]
        write_corpus(folder / "text", "text", self.vocabulary, texts[10:], texts[:10], {})

    def begin(self) -> None:
        self.stored: list[np.ndarray] = []
        self.record = ClipRecord(
            kind="features", encoder="hearing", positions_per_second=12.5, width=WIDTH, stride=self.stride
        )

    def clip(self, text: str) -> FeatureClip | AudioClip:
        """Store the speech of a text."""
        codes = [code for word in text.split() for code in self.spoken[word][self.random.integers(2) :]]
        first = sum(map(len, self.stored))
        self.stored.append(self.table[codes] + 0.1 * self.random.standard_normal((len(codes), WIDTH)))
        return FeatureClip(self.folder / "features.bin", first, len(codes))

    def finish(self) -> None:
        np.concatenate(self.stored).astype(np.float16).tofile(self.folder / "features.bin")

    def clip_document(self, form: str, number: int) -> ClipDocument:
        text = self.texts[number]
        first, rest = text.split(" ", 1)
        clips = [self.clip(text)] if form == "asr" else [self.clip(first), self.clip(rest)]
        runs = [np.zeros(-(-clip.positions // self.stride), dtype=np.uint16) for clip in clips]
        if form == "asr":
            return ClipDocument(asr_document(runs[0], text, self.vocabulary), clips)
        return ClipDocument(interleaved_document([runs[0], rest, runs[1], first], self.vocabulary), clips)

    def config(self, out: Path, **changes: Any) -> LmTrainConfig:
        """As `TinyData.config`; ``speech`` and ``connector`` hold the options of those groups."""
        speech = changes.pop("speech", {}) | {"connector": ConnectorConfig(**changes.pop("connector", {}))}
        return super().config(
            out, **{"forms": ("text", "asr", "interleaved"), "speech": SpeechConfig(**speech)} | changes
        )

    def dialogue(self, number: int) -> ClipDocument:
        """A request about a text in speech, its answer, and the same with the text to be read."""
        text, vocabulary = self.texts[number], self.vocabulary
        asked, answer = self.texts[number - 1].split()[0], " ".join(reversed(text.split()))
        clip = self.clip(text)
        run = np.zeros(-(-clip.positions // self.stride), dtype=np.uint16)
        read = chat_document([ChatTurn(f"{asked} {text}", answer)], vocabulary)
        return ClipDocument(chat_document([ChatTurn((asked, run), answer)], vocabulary), [clip], read)


class AudioData(VectorData):
    """The words as recordings in a tar, for the encoder of a tiny tokenizer in ``folder/tokenizer``."""

    def begin(self) -> None:
        import torch

        from tokenizer.backbones.config import TokenizerModelConfig
        from tokenizer.hearing.load import load_encoder
        from tokenizer.labels import Labels
        from tokenizer.model import SpeechTokenizer
        from tokenizer.quantisers.config import QuantiserConfig

        torch.manual_seed(0)
        sizes: dict[str, Any] = {"backbone": "whisper", "positions": 96, "upsampling": 1, "width": 16, "heads": 2}
        sizes |= {"subsampling_channels": 8, "feed_forward": 2, "chunk": 4, "left_context": 8, "num_labels": 40}
        model = TokenizerModelConfig(**sizes)
        made = SpeechTokenizer(model, QuantiserConfig(codebook_size=32), Labels.from_texts(self.texts, 40))
        made.front.initialise()
        made.quantiser.start(torch.randn(200, 16))
        made.save_pretrained(self.folder / "tokenizer")
        self.encoder = load_encoder(self.folder / "tokenizer", "front")
        self.codes_data = TinyData(self.folder / "spoken", speech_tokenizer=self.encoder.codes_fingerprint)
        self.tar = tarfile.open(self.folder / "speech.tar", "w")  # noqa: SIM115
        self.record = ClipRecord(
            kind="audio",
            encoder=self.encoder.fingerprint,
            positions_per_second=self.encoder.positions_per_second,
            width=self.encoder.width,
            stride=self.stride,
            source=str(self.folder / "tokenizer"),
            layer="front",
        )

    def clip(self, text: str) -> FeatureClip | AudioClip:
        time = np.arange(2400) / 16_000
        hertz = [200 + 100 * code for word in text.split() for code in self.spoken[word][:1]]
        samples = np.concatenate([0.3 * np.sin(2 * np.pi * each * time) for each in hertz])
        write_audio(self.folder / "one.flac", samples.astype(np.float32))
        content = (self.folder / "one.flac").read_bytes()
        member = tarfile.TarInfo(f"{self.tar.offset}.flac")
        member.size = len(content)
        start = self.tar.offset + tarfile.BLOCKSIZE  # behind the member's header
        self.tar.addfile(member, io.BytesIO(content))
        positions = self.encoder.num_positions(len(samples))
        return AudioClip(self.folder / "speech.tar", start, len(content), len(samples), positions)

    def finish(self) -> None:
        self.tar.close()


def run_ranks(work: Callable[[], Any], size: int, store: Path) -> list[Any]:
    """Run ``work`` in ``size`` forked processes that share a gloo group over the file ``store``.

    The answer is what each returned; None of a process that was killed. Import beforehand what is slow to import, and
    open no group in this process itself: a fork would inherit gloo's objects without their threads, and hang when it
    collects them.
    """
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


def train_and_die(data: TinyData, out: Path, at_step: int, how: int, **options: Any) -> Any:
    """Train, but send this process a signal at the beginning of a step, when all processes are there.

    (A process that dies while another still receives the end of the step before makes that one fail, not die.)
    """
    from lm.training.trainer import Trainer

    step, places = Trainer._step, out.with_name(f"{out.name}-arrived")
    places.mkdir(exist_ok=True)

    def deadly(self: Any, number: int, batches: Any) -> Any:
        if number == at_step:
            (places / os.environ["RANK"]).touch()
            wait_for(lambda: len(list(places.iterdir())) == int(os.environ["WORLD_SIZE"]))
            os.kill(os.getpid(), how)
        return step(self, number, batches)

    Trainer._step = deadly  # type: ignore[method-assign]  # this process is a fork
    return data.train(out, **({"checkpoint_every": 4} | options))
