"""Look into an LM corpus: what it holds, and documents as text with their speech tokens folded.

speechweave lm inspect corpus runs/quickstart/lm_data/tts
speechweave lm inspect corpus runs/interleaved/interleaved --documents 10 --random 7
speechweave lm inspect corpus runs/lm_data/text runs/lm_data/asr --split valid --documents 0
speechweave lm inspect corpus runs/lm_data/text --show longest
speechweave lm inspect corpus runs/lm_data/text --json > counts.json

One pass over the documents, in bounded memory: beyond half a million different documents the duplicates are estimated
from a sample. Nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command import run_command
from runtime.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from .data.corpora import CorpusInfo
    from .data.corpus_statistics import CorpusStatistics
    from .data.vocabulary import Vocabulary

SHOWS = ("first", "longest", "shortest", "duplicates")


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave lm inspect corpus",
        description="Count what LM corpora hold, and read their documents.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="folder", help="an LM corpus (it holds corpus.json)")
    parser.add_argument("--vocabulary", type=Path, help="its vocabulary (default: the one of its making, near by)")
    parser.add_argument("--split", default="train", choices=("train", "valid"), help="(train)")
    parser.add_argument("--documents", type=int, default=3, help="how many are shown (3)")
    parser.add_argument("--show", default="first", choices=SHOWS, help="which documents (first)")
    parser.add_argument("--random", type=int, metavar="SEED", help="show documents drawn with this seed")
    parser.add_argument("--codes", type=int, default=6, help="speech tokens shown of each run (6)")
    parser.add_argument("--json", action="store_true", help="counts as JSON, no documents")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), inspect, arguments)


def inspect(options: argparse.Namespace) -> None:
    """Count and show every corpus asked for."""
    from rich.console import Console

    from .data.corpora import open_corpus
    from .data.corpus_statistics import CorpusStatistics
    from .data.vocabulary import Vocabulary

    reports = []
    console = Console(highlight=False)
    for folder in options.folders:
        vocabulary = Vocabulary.from_pretrained(options.vocabulary or find_vocabulary(folder))
        corpus = open_corpus(folder, vocabulary)
        if options.split not in corpus.splits or not corpus.splits[options.split].documents:
            raise UserError(
                str(folder), found=f"no documents in split {options.split}", remedy="choose the other split"
            )
        found = CorpusStatistics.of(corpus.documents(options.split), vocabulary)
        if options.json:
            reports.append(report(corpus, found, options.split))
            continue
        show_counts(console, corpus, found, options.split)
        for number in chosen(found, options):
            show_document(console, corpus, vocabulary, options.split, number, options.codes)
    if options.json:
        print(json.dumps(reports, indent=2))


def find_vocabulary(folder: Path) -> Path:
    """The vocabulary a corpus was made with, looked for where the recipes put it.

    Raises:
        UserError: none there bears its fingerprint.
    """
    from runtime.artefact import read_json

    from .data.corpora import RECORD_FILE
    from .data.vocabulary import Vocabulary

    if not (folder / RECORD_FILE).is_file():
        raise UserError(str(folder), found=f"no LM corpus (no {RECORD_FILE})", remedy="give a corpus folder")
    wanted = str(read_json(folder / RECORD_FILE).get("vocabulary"))
    for above in list(folder.resolve().parents)[:4]:
        for place in (above / "vocabulary" / "vocabulary", above / "vocabulary"):
            if (place / "vocabulary.json").is_file() and Vocabulary.from_pretrained(place).fingerprint == wanted:
                return place
    raise UserError(str(folder), found=f"no vocabulary {wanted} near by", remedy="give --vocabulary FOLDER")


def chosen(found: CorpusStatistics, options: argparse.Namespace) -> list[int]:
    """The numbers of the documents to show."""
    import random

    total = found.total.documents
    count = min(options.documents, total)
    if options.random is not None:
        return sorted(random.Random(options.random).sample(range(total), count))
    if options.show == "first":
        return list(range(count))
    if options.show == "duplicates":
        return [first for _, first in found.duplicates.most_frequent(count)]
    return [entry.number for entry in (found.longest if options.show == "longest" else found.shortest)[:count]]


def report(corpus: CorpusInfo, found: CorpusStatistics, split: str) -> dict[str, Any]:
    """The counts as plain data."""
    formats = {name: asdict(counts) | {"tokens": counts.tokens} for name, counts in found.formats.items()}
    return {
        "folder": str(corpus.folder),
        "format": corpus.format,
        "split": split,
        "vocabulary": corpus.vocabulary,
        "speech_tokenizer": corpus.speech_tokenizer,
        "formats": formats,
        "total": asdict(found.total) | {"tokens": found.total.tokens},
        "lengths": {str(start): found.lengths[start] for start in sorted(found.lengths)},
        "longest": [asdict(entry) for entry in found.longest],
        "shortest": [asdict(entry) for entry in found.shortest],
        "duplicates": found.duplicates.duplicates,
        "is_duplicate_count_exact": found.duplicates.is_exact,
        "provenance": corpus.provenance,
    }


def show_counts(console: Console, corpus: CorpusInfo, found: CorpusStatistics, split: str) -> None:
    """Tables of formats and lengths, and what stands out."""
    from rich.table import Table

    console.print(f"\n[bold]{corpus.folder}[/bold], split {split}, vocabulary {corpus.vocabulary}", soft_wrap=True)
    table = Table("format")
    for name in ("documents", "tokens", "text", "speech", "special", "speech share"):
        table.add_column(name, justify="right")
    for name, counts in [*found.formats.items(), *([("all", found.total)] if len(found.formats) > 1 else [])]:
        numbers = counts.documents, counts.tokens, counts.text_tokens, counts.speech_tokens, counts.special_tokens
        share = f"{counts.speech_tokens / counts.tokens:.1%}"
        table.add_row(name, *(f"{number:,}" for number in numbers), share)
    console.print(table)
    most = max(found.lengths.values())
    lengths = Table("tokens", title="lengths", title_justify="left")
    lengths.add_column("documents", justify="right")
    lengths.add_column("")
    for start in sorted(found.lengths):
        count = found.lengths[start]
        lengths.add_row(f"{start:,} to {2 * start - 1:,}", f"{count:,}", "█" * max(1, round(30 * count / most)))
    console.print(lengths)
    for name, entries in (("longest", found.longest), ("shortest", found.shortest)):
        console.print(f"{name}: " + ", ".join(f"no. {entry.number:,} ({entry.tokens:,})" for entry in entries))
    about = "" if found.duplicates.is_exact else "about "
    repeated = found.duplicates.duplicates
    console.print(f"exact duplicates: {about}{repeated:,} ({repeated / found.total.documents:.2%})")
    for times, first in found.duplicates.most_frequent(3):
        console.print(f"  {times:,} times: no. {first:,}")


def show_document(
    console: Console, corpus: CorpusInfo, vocabulary: Vocabulary, split: str, number: int, num_codes: int
) -> None:
    """One document as text, its speech folded."""
    from rich.panel import Panel
    from rich.text import Text

    from .data.rendering import render

    document = corpus.document(split, number)
    text = Text(render(document, vocabulary, num_shown=num_codes))
    text.highlight_regex(r"‹[^›]*›", "cyan")
    text.highlight_regex(r"<\|[^|]*\|>", "dim")
    console.print(Panel(text, title=f"no. {number:,}: {len(document):,} tokens", title_align="left"))


if __name__ == "__main__":
    sys.exit(main())
