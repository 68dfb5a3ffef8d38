"""What a worker of the bulk synthesis does with a unit: read its texts, speak them, write one Parquet file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpus.manifest import BadRecord
from lm.data.readers import TextDocument
from runtime.bulk.attempt import UnitAttempt

from .gate import GateConfig
from .plan import part_of
from .spans import SpanConfig
from .texts import Columns, TextReader
from .unit_file import Counts, Fingerprints, write_unit

if TYPE_CHECKING:
    from .engine import SpanVoice, Synthesiser


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """All that a worker needs, as plain data (a `runtime.bulk.workers.Work`).

    Attributes:
        model: the exported model's folder.
        backend: what generates, one of `backends.choice.BACKENDS`.
        marks: fingerprints that each unit bears.
        columns: of text and id.
        spans: which words become speech.
        gate: which speech is kept.
        voice: how it is read.
        seed: of the corpus.
        retries: how often a span whose speech fails the gate is read again.
        batch_size: prompts generated at once.
        dtype: of the model's weights.
        devices: where to run; workers take them in turn.
        threads: of torch, in each process.
        has_graphs: decode by CUDA graphs.
    """

    model: str
    backend: str = "builtin"
    marks: Fingerprints
    columns: Columns
    spans: SpanConfig
    gate: GateConfig
    voice: SpanVoice
    seed: int
    retries: int
    batch_size: int
    dtype: str
    devices: tuple[str, ...]
    threads: int
    has_graphs: bool = False

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        """Load the model."""
        synthesiser = self.synthesiser(self.devices[number % len(self.devices)])
        reader = TextReader(self.columns)
        return lambda attempt: finish_unit(attempt, reader, synthesiser, self.marks)

    def synthesiser(self, device: str) -> Synthesiser:
        """The model with all options."""
        import torch

        from lm.data.vocabulary import Vocabulary

        from .backends.choice import BackendOptions, open_backend
        from .engine import Synthesiser

        torch.set_num_threads(self.threads)
        vocabulary = Vocabulary.from_pretrained(self.model)
        options = BackendOptions(
            folder=self.model,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=device,
            has_graphs=self.has_graphs,
        )
        return Synthesiser(
            open_backend(self.backend, options, vocabulary),
            vocabulary,
            spans=self.spans,
            gate=self.gate,
            voice=self.voice,
            seed=self.seed,
            retries=self.retries,
        )


def finish_unit(
    attempt: UnitAttempt, reader: TextReader, synthesiser: Synthesiser, marks: Fingerprints
) -> dict[str, Any]:
    """Write a unit's file; returns what it holds (`Counts`) and the records left out."""
    unit = attempt.unit
    documents: list[TextDocument] = []
    bad: list[BadRecord] = []
    for item in reader.read(part_of(unit)):
        (documents if isinstance(item, TextDocument) else bad).append(item)  # type: ignore[arg-type]
    counts = Counts()
    spoken = synthesiser.speak(documents, unit.work["pass"])
    for document in spoken:
        counts.add(document)
    write_unit(attempt.path("parquet"), spoken, marks, len(bad))
    return counts.record() | {"bad": [[record.place, record.reason] for record in bad]}
