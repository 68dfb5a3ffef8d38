"""Read (and hear) what a bulk synthesis made: texts with their spans marked and their speech tokens folded.

speechweave text2token inspect runs/synthesis --documents 3
speechweave text2token inspect runs/synthesis --rejected
speechweave text2token inspect runs/synthesis --id doc-17 --decoder runs/decoder/artefact --out heard
speechweave text2token inspect runs/interleaved/interleaved --vocabulary runs/vocabulary/vocabulary
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import run_command
from runtime.errors import UserError

if TYPE_CHECKING:
    from .unit_file import SpokenDocument, SpokenSpan

SHOWN_CODES = 6  # of each span


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave text2token inspect",
        description="Read documents with spans in speech, and hear the spans.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, help="output of text2token synthesize, finished or not, or a packed corpus"
    )
    parser.add_argument("--documents", type=int, default=5, help="how many (5)")
    parser.add_argument("--skip", type=int, default=0, help="how many to pass over first (0)")
    parser.add_argument("--id", default="", help="only the document of this id (of a synthesis)")
    parser.add_argument("--rejected", action="store_true", help="only documents with a span that failed the gate")
    parser.add_argument("--vocabulary", type=Path, default=None, help="of a packed corpus")
    parser.add_argument(
        "--decoder", type=Path, default=None, help="decoder artefact: write a wav of each span in speech"
    )
    parser.add_argument("--out", type=Path, default=Path("heard"), help="folder of the wavs (heard)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), inspect, arguments)


def inspect(options: argparse.Namespace) -> None:
    """Print the documents asked for, and write their spans as audio."""
    if (options.folder / "corpus.json").is_file():
        inspect_corpus(options)
        return
    chosen = (document for document in documents(options.folder) if is_wanted(document, options))
    shown = list(islice(chosen, options.skip, options.skip + options.documents))
    if not shown:
        raise UserError(
            str(options.folder), found="no such document", remedy="see its units' Parquet files for the ids"
        )
    for document in shown:
        print(f"{describe(document)}\n{marked(document)}\n")
    if options.decoder is not None:
        write_wavs(shown, options.decoder, options.out)


def documents(folder: Path) -> Iterator[SpokenDocument]:
    """The documents of the finished units of a synthesis, in order."""
    from runtime.bulk.job import UnitFolder

    from .unit_file import read_unit

    job = UnitFolder(folder)
    for unit, _ in job.records():
        yield from read_unit(job.path(unit, "parquet"))[0]


def is_wanted(document: SpokenDocument, options: argparse.Namespace) -> bool:
    """Whether a document is among those asked for."""
    from .gate import GOOD

    if options.id and document.id != options.id:
        return False
    return not options.rejected or any(span.verdict != GOOD for span in document.spans)


def describe(document: SpokenDocument) -> str:
    """One line about a document."""
    from .unit_file import Counts

    counts = Counts()
    counts.add(document)
    return (
        f"== {document.id}: {counts.words} words, {counts.spans - counts.num_rejected} of {counts.spans} spans spoken "
        f"({counts.spoken_words} words, {counts.tokens} tokens)"
    )


def marked(document: SpokenDocument) -> str:
    """The text with each span in ``⟦ ⟧``, and after it what became of it."""
    parts, at = [], 0
    for span in document.spans:
        parts += [document.text[at : span.start], "⟦", document.text[span.start : span.end], "⟧", outcome(span)]
        at = span.end
    return "".join([*parts, document.text[at:]])


def outcome(span: SpokenSpan) -> str:
    """``‹ann, 38 tokens: 17 4 255 …›``, or why the span stays text."""
    from .gate import GOOD

    if span.verdict != GOOD:
        return f"‹text: {span.verdict}›"
    codes = " ".join(map(str, span.tokens[:SHOWN_CODES].tolist())) + (" …" if len(span.tokens) > SHOWN_CODES else "")
    return f"‹{span.speaker}, {len(span.tokens)} tokens: {codes}›"


def inspect_corpus(options: argparse.Namespace) -> None:
    """Print documents of a packed corpus."""
    from lm.data.corpora import open_corpus
    from lm.data.formats import render
    from lm.data.vocabulary import Vocabulary

    if options.vocabulary is None:
        raise UserError("option --vocabulary", found="not given", remedy="a packed corpus is read with its vocabulary")
    vocabulary = Vocabulary.from_pretrained(options.vocabulary)
    rows = open_corpus(options.folder, vocabulary).documents("train")
    for number, row in enumerate(islice(rows, options.skip, options.skip + options.documents), options.skip):
        print(f"== {number}: {len(row)} tokens\n{render(row, vocabulary, num_shown=SHOWN_CODES)}\n")


def write_wavs(shown: Sequence[SpokenDocument], decoder_folder: Path, out: Path) -> None:
    """Write ``<out>/<document>-<span>.wav`` for each span in speech."""
    from corpus.audio.files import write_audio
    from decoder.model import SpeechDecoder

    from .gate import GOOD

    decoder = SpeechDecoder.from_pretrained(decoder_folder)
    for document in shown:
        name = re.sub(r"[^\w.-]+", "_", document.id)
        for number, span in enumerate(document.spans):
            if span.verdict == GOOD:
                file = out / f"{name}-{number}.wav"
                write_audio(file, decoder.decode(span.tokens), decoder.sample_rate)
                print(f"{file}: {document.text[span.start : span.end]}")


if __name__ == "__main__":
    sys.exit(main())
