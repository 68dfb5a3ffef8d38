"""Audio of synthesised spans, by a speech decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from corpus.audio.files import write_audio
from decoder.model import SpeechDecoder
from text2token.gate import GOOD

from .unit_file import SpokenDocument


def write_wavs(documents: Sequence[SpokenDocument], decoder_folder: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """Write ``<out>/<document>-<span>.wav`` for each span in speech; yields each file and the span's text."""
    decoder = SpeechDecoder.from_pretrained(decoder_folder)
    for document in documents:
        name = re.sub(r"[^\w.-]+", "_", document.id)
        for number, span in enumerate(document.spans):
            if span.verdict == GOOD:
                file = out / f"{name}-{number}.wav"
                write_audio(file, decoder.decode(span.tokens), decoder.sample_rate)
                yield file, document.text[span.start : span.end]
