"""Listing of a bulk synthesis or a packed corpus: texts with their spans marked, and audio of the spans.

speechweave text2token inspect runs/synthesis --documents 3
speechweave text2token inspect runs/synthesis --rejected
speechweave text2token inspect runs/synthesis --id doc-17 --decoder runs/decoder/artefact --out heard
speechweave text2token inspect runs/interleaved/interleaved --vocabulary runs/vocabulary/vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lm.data.corpora import open_corpus
from lm.data.rendering import render
from lm.data.vocabulary import Vocabulary
from runtime.command import Command
from runtime.config import Options, option
from runtime.errors import UserError

from .synthesis.inspection import (
    FEW_SPANS,
    FEW_SPANS_HINT,
    SHOWN_CODES,
    describe,
    has_rejected_span,
    mark_spans,
    read_documents,
    spans_per_document,
)


@dataclass(kw_only=True)
class InspectConfig(Options):
    """Options of text2token inspect.

    Attributes:
        folder: output of text2token.synthesize, finished or not, or a packed corpus.
        documents: number of documents to print.
        skip: number of documents to leave out before.
        id: print only the document of this id (of a synthesis).
        rejected: print only documents with a span that failed the gate.
        vocabulary: of a packed corpus.
        decoder: decoder artefact, to write a wav file of each span in speech.
        out: folder of the wav files.
    """

    folder: str
    documents: int = option(5, at_least=1)
    skip: int = option(0, at_least=0)
    id: str = ""
    rejected: bool = False
    vocabulary: str = ""
    decoder: str = ""
    out: str = "heard"


def run(config: InspectConfig) -> None:
    """Print the documents asked for, and write their spans as audio."""
    if (Path(config.folder) / "corpus.json").is_file():
        inspect_corpus(config)
    else:
        inspect_synthesis(config)


def inspect_synthesis(config: InspectConfig) -> None:
    """Print documents of a synthesis."""
    chosen = (
        document
        for document in read_documents(Path(config.folder))
        if config.id in ("", document.id) and (not config.rejected or has_rejected_span(document))
    )
    shown = list(islice(chosen, config.skip, config.skip + config.documents))
    if not shown:
        raise UserError(config.folder, found="no such document", remedy="see its units' Parquet files for the ids")
    for document in shown:
        print(f"{describe(document)}\n{mark_spans(document)}\n")
    if (density := spans_per_document(Path(config.folder))) < FEW_SPANS:
        print(f"warning: {density} {FEW_SPANS_HINT}")
    if config.decoder:
        from .synthesis.span_audio import write_wavs  # imports torch

        for file, text in write_wavs(shown, Path(config.decoder), Path(config.out)):
            print(f"{file}: {text}")


def inspect_corpus(config: InspectConfig) -> None:
    """Print documents of a packed corpus."""
    if not config.vocabulary:
        raise UserError("option --vocabulary", found="not given", remedy="a packed corpus is read with its vocabulary")
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    rows = open_corpus(config.folder, vocabulary).documents("train")
    for number, row in enumerate(islice(rows, config.skip, config.skip + config.documents), config.skip):
        print(f"== {number}: {len(row)} tokens\n{render(row, vocabulary, num_shown=SHOWN_CODES)}\n")


COMMAND = Command(
    name="text2token.inspect",
    words="text2token inspect",
    config=InspectConfig,
    run=run,
    summary="Print documents with their spans in speech marked, and write the spans as audio.",
    example="""runs/synthesis --documents 3
runs/synthesis --rejected
runs/synthesis --id doc-17 --decoder runs/decoder/artefact --out heard
runs/interleaved/interleaved --vocabulary runs/vocabulary/vocabulary""",
    positional="folder",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
