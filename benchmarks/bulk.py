"""Cost of the bulk engine apart from generation: CPU seconds with a model that answers at once, and memory.

    python -m benchmarks.bulk --documents 2000 --words 120 --model runs/quickstart/text2token_model/model
    python -m benchmarks.bulk --memory --documents 100000 --words 30

The engine (units, leases, spans, gate, Parquet) runs over made-up texts with a model that answers at once, datatrove
reads and writes the same texts (Parquet to Parquet) by its local executor, both with one worker in this process. The
CPU time of choosing spans and making prompts, which datatrove does not do, is measured apart. With ``--model`` the same
texts are also really synthesised, and the engine's share of that is printed. ``--memory`` runs the engine over a tenth
of the texts and over all of them, each in a process of its own, and prints their peak memory.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lm.data.formats import tts_prompt
from lm.data.special_tokens import SpecialToken
from lm.data.text_files import TextDocument, iterate_texts
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.bulk.workers import finish_units
from runtime.command import Command
from runtime.config import Options, option
from text2token.speech_generation import SpeechBackend
from text2token.synthesis.config import SynthesizeConfig
from text2token.synthesis.plan import open_job
from text2token.synthesis.span_plan import plan_spans
from text2token.synthesis.unit_synthesis import SynthesisWork

SENTENCE = "the capital of france is paris a lion sleeps in house and cat likes red ball very much seven days"
GROUP = 1000  # rows of a row group


class InstantBackend:
    """A model that costs nothing: half of the tokens it may give, then the end."""

    max_length = 1 << 20

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.first, self.end = vocabulary.speech_offset, vocabulary.special(SpecialToken.END_OF_AUDIO)
        self.row = np.random.default_rng(0).integers(0, vocabulary.num_speech_tokens, 1 << 16) + self.first

    def generate(
        self, prompts: Sequence[Any], *, max_new_tokens: Sequence[int], **_: Any
    ) -> list[npt.NDArray[np.int32]]:
        """Answers of half the lengths allowed."""
        return [np.append(self.row[: most // 2], self.end).astype(np.int32) for most in max_new_tokens]


@dataclass(frozen=True, kw_only=True)
class InstantSynthesis(SynthesisWork):
    """The engine with a model that answers at once."""

    def open_backend(self, device: str, vocabulary: Vocabulary) -> SpeechBackend:
        """No model is loaded."""
        return InstantBackend(vocabulary)


@dataclass(kw_only=True)
class BulkBenchmarkConfig(Options):
    """Options of benchmarks.bulk.

    Attributes:
        documents: number of made-up texts.
        words: of each text.
        model: an exported text-to-token model, to compare with ("" = none).
        repeats: runs of each kind, of which the cheapest counts: a busy machine makes CPU seconds longer, too.
        memory: measure peak memory instead of time.
        child: one of the processes of ``memory``.
    """

    documents: int = option(2000, at_least=1)
    words: int = option(120, at_least=1)
    model: str = ""
    repeats: int = option(1, at_least=1)
    memory: bool = False
    child: bool = False


def run(options: BulkBenchmarkConfig) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.memory:
            for count in (options.documents // 10, options.documents):
                command = [sys.executable, "-m", "benchmarks.bulk", "--child", "--documents", str(count)]
                subprocess.run([*command, "--words", str(options.words)], check=True)
            return
        texts = write_texts(folder, options.documents, options.words)
        model = options.model or write_vocabulary(folder / "model")
        repeats = range(1 if options.child else options.repeats)
        engine = min(
            cpu_seconds(partial(run_engine, InstantSynthesis, texts, folder / f"none-{number}", model))
            for number in repeats
        )
        report(f"engine, no model, {options.documents} documents of {options.words} words", options.documents, engine)
        if options.child:
            print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
            return
        plain = min(
            cpu_seconds(partial(run_datatrove, texts.parent, folder / f"datatrove-{number}")) for number in repeats
        )
        report("datatrove, reading and writing", options.documents, plain)
        planning = min(cpu_seconds(lambda: plan_texts(texts, folder / "none", model)) for _ in repeats)
        report("of the engine, spans and prompts", options.documents, planning)
        rest = (engine - planning) / plain
        print(f"engine / datatrove: {engine / plain:.2f}, spans and prompts apart {rest:.2f}")
        if options.model:
            whole = cpu_seconds(lambda: run_engine(SynthesisWork, texts, folder / "real", model))
            report("synthesis with the model", options.documents, whole)
            print(f"engine / generation: {engine / (whole - engine):.3f}")


def run_engine(kind: type[SynthesisWork], texts: Path, folder: Path, model: str) -> None:
    """Synthesise all texts in this process."""
    config = synthesis_config(texts, folder, model)
    job = open_job(folder, config)
    for _ in finish_units(job, kind(config=config, model_fingerprint="none"), processes=1):
        pass
    job.tidy()


def plan_texts(texts: Path, folder: Path, model: str) -> None:
    """What the engine does to each text that datatrove does not: spans, the text of each in words, its prompt."""
    config = synthesis_config(texts, folder, model)
    vocabulary = Vocabulary.from_pretrained(model)
    speakers = config.shares_of({}, vocabulary)
    for document in iterate_texts(texts):
        assert isinstance(document, TextDocument)
        plan = plan_spans(
            document, 0, seed=config.seed, spans=config.spans, speakers=speakers, spoken=config.model_text
        )
        for _, request in plan:
            tts_prompt(request.text, request.speaker, vocabulary)


def synthesis_config(texts: Path, folder: Path, model: str) -> SynthesizeConfig:
    """Options of the synthesis."""
    return SynthesizeConfig(texts=str(texts), model=model, retries=0, normaliser="none", out=str(folder))


def run_datatrove(texts: Path, folder: Path) -> None:
    """Read and write the same texts by plain datatrove."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.readers.parquet import ParquetReader
    from datatrove.pipeline.writers.parquet import ParquetWriter
    from datatrove.utils.logging import logger

    logger.disable("datatrove")
    steps = [ParquetReader(str(texts)), ParquetWriter(str(folder / "out"), compression="zstd")]
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(folder / "logs")).run()


def write_texts(folder: Path, documents: int, words: int) -> Path:
    """Made-up texts as Parquet, in FineWeb-Edu's layout."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(0)
    file = folder / "texts" / "000_00000.parquet"
    file.parent.mkdir()
    vocabulary = SENTENCE.split()
    schema = pa.schema([("text", pa.string()), ("id", pa.string())])
    with pq.ParquetWriter(file, schema) as writer:
        for first in range(0, documents, GROUP):
            numbers = range(first, min(first + GROUP, documents))
            texts = [" ".join(draw.choices(vocabulary, k=words)) + "." for _ in numbers]
            writer.write_table(pa.table({"text": texts, "id": [f"d{number}" for number in numbers]}, schema=schema))
    return file


def write_vocabulary(folder: Path) -> str:
    """A small vocabulary with a voice."""
    vocabulary = build_vocabulary(
        train_bpe([SENTENCE] * 3, 340), num_speech_tokens=512, speech_tokenizer="none", speakers=["ann"]
    )
    vocabulary.save_pretrained(folder)
    return str(folder)


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU seconds of this process and its children that some work takes."""
    started = total_cpu()
    work()
    return total_cpu() - started


def total_cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def report(name: str, documents: int, seconds: float) -> None:
    """Print one line."""
    print(f"{name}: {seconds:.2f} CPU s, {documents / seconds:,.0f} documents/s", flush=True)


COMMAND = Command(
    name="benchmarks.bulk",
    words="benchmarks bulk",
    config=BulkBenchmarkConfig,
    run=run,
    summary="Measure the bulk engine's cost apart from generation.",
    example="--documents 2000 --words 120",
)

if __name__ == "__main__":
    COMMAND.exit()
