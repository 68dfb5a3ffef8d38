"""Report about an LM corpus: counts as tables or plain data, and documents with the targets of the loss marked."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from runtime.artefact import read_json
from runtime.errors import UserError

from .corpora import RECORD_FILE, CorpusInfo, open_corpus
from .corpus_statistics import CorpusStatistics
from .loss_mask import Loss, loss_mask
from .rendering import runs
from .vocabulary import Vocabulary

TARGET_BEGIN, TARGET_END = "▸", "◂"  # around targets where there are no colours


def inspect_corpora(
    folders: Sequence[str],
    *,
    vocabulary: str,
    split: str,
    documents: int,
    show: str,
    seed: int | None,
    codes: int,
    loss: str,
    is_json: bool,
) -> None:
    """Print what corpora hold; the arguments are the options of `lm.inspect_corpus`."""
    console = Console(highlight=False)
    reports = []
    for folder in map(Path, folders):
        own = Vocabulary.from_pretrained(vocabulary or find_vocabulary(folder))
        corpus = open_corpus(folder, own)
        if split not in corpus.splits or not corpus.splits[split].documents:
            raise UserError(str(folder), found=f"no documents in split {split}", remedy="choose the other split")
        found = CorpusStatistics.of(corpus.documents(split), own)
        if is_json:
            reports.append(report(corpus, found, split))
            continue
        show_counts(console, corpus, found, split)
        for number in choose_documents(found, documents, show, seed):
            counted = "text_without_marks" if corpus.clips is not None and loss == "all" else loss  # as lm.train does
            show_document(console, corpus, own, split, number, codes, cast(Loss, counted))
    if is_json:
        print(json.dumps(reports, indent=2))


def find_vocabulary(folder: Path) -> Path:
    """The vocabulary that a corpus was made with, looked for where the recipes put it.

    Raises:
        UserError: none with its fingerprint there.
    """
    if not (folder / RECORD_FILE).is_file():
        raise UserError(str(folder), found=f"no LM corpus (no {RECORD_FILE})", remedy="give a corpus folder")
    wanted = str(read_json(folder / RECORD_FILE).get("vocabulary"))
    for above in list(folder.resolve().parents)[:4]:
        for place in (above / "vocabulary" / "vocabulary", above / "vocabulary"):
            if (place / "vocabulary.json").is_file() and Vocabulary.from_pretrained(place).fingerprint == wanted:
                return place
    raise UserError(str(folder), found=f"no vocabulary {wanted} near by", remedy="give --vocabulary FOLDER")


def choose_documents(found: CorpusStatistics, count: int, show: str, seed: int | None) -> list[int]:
    """The numbers of the documents to show: drawn with ``seed``, or those that ``show`` names."""
    total = found.total.documents
    count = min(count, total)
    if seed is not None:
        return sorted(random.Random(seed).sample(range(total), count))
    if show == "first":
        return list(range(count))
    if show == "duplicates":
        return [first for _, first in found.duplicates.most_frequent(count)]
    return [entry.number for entry in (found.longest if show == "longest" else found.shortest)[:count]]


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
    } | ({} if corpus.clips is None else {"clips": clip_counts(corpus, found, split)})


def clip_counts(corpus: CorpusInfo, found: CorpusStatistics, split: str) -> dict[str, Any]:
    """Counts of the clips of a corpus whose speech is read as vectors, and where they come from."""
    record = corpus.clips
    assert record is not None
    seconds = found.total.speech_tokens * record.stride / record.positions_per_second
    about = {name: value for name, value in asdict(record).items() if name != "shards"}
    table = corpus.clip_table(split)
    return about | {"clips": table.num_clips, "shards": table.num_files, "hours": seconds / 3600}


def show_counts(console: Console, corpus: CorpusInfo, found: CorpusStatistics, split: str) -> None:
    """Tables of formats and lengths, the extremes and the duplicates."""
    console.print(f"\n[bold]{corpus.folder}[/bold], split {split}, vocabulary {corpus.vocabulary}", soft_wrap=True)
    table = Table("format")
    for name in ("documents", "tokens", "text", "speech", "special", "speech share"):
        table.add_column(name, justify="right")
    for name, counts in [*found.formats.items(), *([("all", found.total)] if len(found.formats) > 1 else [])]:
        numbers = counts.documents, counts.tokens, counts.text_tokens, counts.speech_tokens, counts.special_tokens
        share = f"{counts.speech_tokens / counts.tokens:.1%}"
        table.add_row(name, *(f"{number:,}" for number in numbers), share)
    console.print(table)
    if corpus.clips is not None:
        clips = clip_counts(corpus, found, split)
        console.print(
            f"speech as vectors: {clips['clips']:,} clips ({clips['kind']}) in {clips['shards']:,} files, about "
            f"{clips['hours']:.3g} hours; encoder {clips['encoder']} {clips['layer']}, {clips['width']} wide, "
            f"{clips['positions_per_second']:g} a second, {clips['stride']} to a position",
            soft_wrap=True,
        )
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
    console: Console, corpus: CorpusInfo, vocabulary: Vocabulary, split: str, number: int, num_codes: int, loss: Loss
) -> None:
    """One document as text, its speech folded, the targets of the loss green (or between marks)."""
    ids = corpus.document(split, number)
    mask, targets = loss_mask(ids, vocabulary, loss=loss), corpus.targets(split)
    if targets is not None:
        mask[:] = 0
        mask[slice(*targets[number])] = loss != "speech"
    text = Text()
    was_target = False
    for run in runs(ids, vocabulary, mask=mask, num_shown=num_codes):
        if not console.is_terminal and run.is_target != was_target:
            text.append(f" {TARGET_BEGIN}" if run.is_target else f"{TARGET_END} ")
        elif text:
            text.append(" ")
        text.append(run.text, style="green" if run.is_target else "dim")
        was_target = run.is_target
    if was_target and not console.is_terminal:
        text.append(TARGET_END)
    marked = "green" if console.is_terminal else f"{TARGET_BEGIN} {TARGET_END}"
    title = f"no. {number:,}: {len(ids):,} tokens, {int(mask.sum()):,} targets of the loss ({marked})"
    console.print(Panel(text, title=title, title_align="left"))
    if corpus.clips is not None:
        table = corpus.clip_table(split)
        for clip in range(len(table.of(number))):
            console.print(f"  {table.where(number, clip)}", soft_wrap=True)
