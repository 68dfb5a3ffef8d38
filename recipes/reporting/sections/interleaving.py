"""Interleaved documents with their speech tokens folded."""

from __future__ import annotations

import itertools
import re
from typing import Any

from lm.data.corpora import open_corpus
from lm.data.rendering import render
from lm.data.vocabulary import Vocabulary
from recipes.reporting.blocks import Section, percent
from recipes.reporting.run_results import Results

SPEECH_RUN = re.compile(r"‹(\d+) speech: [^›]*›")


def interleaving_section(results: Results) -> Section | None:
    """The first training documents, their speech tokens folded."""
    folder = results.folder("interleaved")
    vocabulary_folder = results.folder("vocabulary")
    if folder is None or vocabulary_folder is None:
        return None
    vocabulary = Vocabulary.from_pretrained(vocabulary_folder / "vocabulary")
    documents = open_corpus(folder / "interleaved", vocabulary).documents("train")
    section = Section("Interleaved documents")
    own = results.metrics_of("interleaved")
    section.text(
        "Text in which spans (lengths from a Poisson distribution with mean 10, 30 % of the words asked for) are "
        f"replaced by speech tokens made from the text alone. Realised ratio {100 * own['realised_ratio']:.1f} %."
    )
    for document in itertools.islice(documents, 3):
        section.document(pieces_of(render(document, vocabulary, num_shown=24)))
    _add_span_errors(section, results)
    return section


def _add_span_errors(section: Section, results: Results) -> None:
    """The word errors of the spans, if a step read them back, by class."""
    step = results.step_of("text2token.evaluate_spans")
    if step is None:
        return
    own = results.metrics_of(step)
    floor = own.get("span_wer_of_real_tokens")
    beside = "" if floor is None else f" (the built-in synthesiser's tokens of the same words: {percent(floor)})"
    section.heading("Spans read back by the tokenizer")
    section.text(
        f"Word error rate of {own['read_spans']:,} spans drawn from the synthesis: {percent(own['span_wer'])}{beside}."
    )
    section.table(
        ["by", "class", "spans", "words", "WER", "WER of the synthesiser's tokens"],
        [
            [
                *(row[name] for name in ("by", "class", "spans", "words")),
                percent(row["span_wer"]),
                percent(row.get("span_wer_of_real_tokens")),
            ]
            for row in results.lines(step, "classes.jsonl")
        ],
    )


def pieces_of(rendered: str) -> list[dict[str, Any]]:
    """Split a rendered document into text and folded speech."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for match in SPEECH_RUN.finditer(rendered):
        pieces.append({"is_speech": False, "text": rendered[at : match.start()].strip()})
        pieces.append({"is_speech": True, "text": match.group()[1:-1], "count": int(match.group(1))})
        at = match.end()
    pieces.append({"is_speech": False, "text": rendered[at:].strip()})
    return [piece for piece in pieces if piece["text"]]
