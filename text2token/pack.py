"""Synthesised units -> interleaved documents -> an LM corpus (2411.17607, section 2.2).

    python -m text2token.pack synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved

Text outside the spans is kept byte for byte; a span whose speech failed the gate is text again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.errors import UserError
from corpus.stage import Run, Stage, StageConfig

from .plan import PLAN_FILE, Unit, read_plan

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lm.vocabulary import Vocabulary

    from .unit_file import Counts, Marks


@dataclass(kw_only=True)
class PackConfig(StageConfig):
    """Options of text2token.pack.

    Attributes:
        synthesised: output folder of text2token.synthesize, or a folder that holds those of all shards.
        vocabulary: folder of the vocabulary (the model's folder holds a copy).
    """

    synthesised: str
    vocabulary: str


@dataclass(frozen=True)
class UnitFile:
    """A unit of the plan and where its file lies."""

    unit: Unit
    path: Path


def run(config: PackConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved``; returns what it holds."""
    from lm.corpora import SPLITS, finished_corpus, write_corpus
    from lm.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    units = find_units(Path(config.synthesised))
    packed = _Packed(vocabulary)
    folder = run.folder / "interleaved"
    info = finished_corpus(folder, vocabulary)
    if info is None:
        with run.progress(len(units), "packing", unit="unit") as bar:

            def documents(split: str) -> Iterator[npt.NDArray[np.int32]]:
                for file in units:
                    if file.unit.split == split:
                        yield from packed.documents(file)
                        bar.update()

            train, valid = (documents(split) for split in SPLITS)
            info = write_corpus(folder, "interleaved", vocabulary, train, valid, packed.provenance)
    splits, made = info.splits, info.provenance
    return {
        "documents": splits["train"].documents,
        "tokens": splits["train"].tokens,
        "speech_tokens": splits["train"].speech_tokens,
        "valid_documents": splits["valid"].documents,
        "spans": made["spans"],
        "realised_ratio": made["realised_ratio"],
        "rejected_share": made["rejected_share"],
        "longest": splits["train"].longest,
    }


def find_units(root: Path) -> list[UnitFile]:
    """The files of all units, in the plan's order, from one run folder or from those of all shards below ``root``.

    Raises:
        UserError: no synthesis there, shards of different plans, or a unit that no shard has finished.
    """
    folders = [root] if (root / PLAN_FILE).exists() else sorted(file.parent for file in root.glob(f"*/{PLAN_FILE}"))
    if not folders:
        remedy = "give the output folder of text2token.synthesize"
        raise UserError(str(root), found=f"no synthesis (no {PLAN_FILE})", remedy=remedy)
    plan = read_plan(folders[0])
    for folder in folders[1:]:
        if read_plan(folder) != plan:
            found = f"another plan than in {folders[0]}"
            raise UserError(str(folder), found=found, remedy="synthesise all shards with the same options and texts")
    files = []
    for unit in plan:
        places = [folder / unit.name for folder in folders if (folder / unit.name).exists()]
        if not places:
            found = f"no {unit.name}: {_count_missing(plan, folders)} of {len(plan)} units are not finished"
            raise UserError(str(root), found=found, remedy="run text2token.synthesize (all its shards) to the end")
        files.append(UnitFile(unit, places[0]))
    return files


def _count_missing(plan: Sequence[Unit], folders: Sequence[Path]) -> int:
    return sum(not any((folder / unit.name).exists() for folder in folders) for unit in plan)


class _Packed:
    """What has been packed so far, for the record in ``corpus.json``."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from .unit_file import Counts

        self.vocabulary = vocabulary
        self.counts: dict[str, Counts] = {"train": Counts(), "valid": Counts()}
        self.marks: Marks | None = None
        self.speakers: dict[str, int] = {}
        self.provenance: dict[str, Any] = {"stage": "text2token.pack"}

    def documents(self, file: UnitFile) -> Iterator[npt.NDArray[np.int32]]:
        """The interleaved documents of a unit."""
        from lm.formats import interleaved_document

        from .gate import GOOD
        from .unit_file import read_unit

        documents, marks, _ = read_unit(file.path)
        self._check(marks, file.path)
        for document in documents:
            self.counts[file.unit.split].add(document)
            for span in document.spans:
                if span.verdict == GOOD:
                    self.speakers[span.speaker] = self.speakers.get(span.speaker, 0) + 1
            yield interleaved_document(document.pieces(), self.vocabulary)
        self._record()

    def _record(self) -> None:
        train, valid = self.counts["train"], self.counts["valid"]
        assert self.marks is not None
        self.provenance |= {
            "model": self.marks.model,
            "words": train.words,
            "spans": train.spans,
            "realised_ratio": round(train.realised_ratio, 4),
            "chosen_ratio": round(train.chosen_words / max(train.words, 1), 4),
            "rejected": dict(sorted(train.rejected.items())),
            "rejected_share": round(train.rejected_share, 4),
            "valid_spans": valid.spans,
            "valid_realised_ratio": round(valid.realised_ratio, 4),
            "spans_by_speaker": dict(sorted(self.speakers.items())),
        }

    def _check(self, marks: Marks, path: Path) -> None:
        """Raise a `UserError` if a unit is of another vocabulary, or of another model than the units before."""
        self.vocabulary.check_speech_tokenizer(marks.speech_tokenizer, str(path))
        if marks.vocabulary != self.vocabulary.fingerprint:
            found = f"a unit of vocabulary {marks.vocabulary}, but the one given is {self.vocabulary.fingerprint}"
            raise UserError(str(path), found=found, remedy="give the vocabulary of the text-to-token model")
        if self.marks is not None and marks != self.marks:
            found = f"a unit of model {marks.model}, but the units before are of {self.marks.model}"
            raise UserError(str(path), found=found, remedy="synthesise all shards with one model")
        self.marks = marks


STAGE = Stage(
    name="text2token.pack",
    config=PackConfig,
    run=run,
    summary="Pack synthesised units into an LM corpus of interleaved documents.",
    inputs=lambda config: [config.synthesised, config.vocabulary],
    example="synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved",
)

if __name__ == "__main__":
    STAGE.exit()
