"""Texts -> spans -> audio: InSerter's bulk synthesis (2503.02769), for speech that is read as vectors.

    python -m text2token.aloud texts=runs/corpus/texts.jsonl texts_heldout=runs/corpus/texts_heldout.jsonl \
        out=runs/aloud processes=2
    python -m text2token.aloud texts=texts.jsonl spans.policy=sentence spans.ratio=0.4 reader=endpoint \
        endpoint.url=http://localhost:8000/v1 'endpoint.voices=[anna,bert]' out=runs/aloud
    python -m text2token.aloud texts=texts.jsonl reader=model model.model=runs/text2token_export/model \
        model.decoder=runs/decoder out=runs/aloud

Spans of words (at least 5, or whole sentences) are read by voices: the built-in synthesisers, a text-to-speech server,
or text2token and a decoder; a span whose audio fails the gate stays text. Writes FLAC in tars, which WebDataset and
lhotse read, and the documents. `text2token.pack encoder=...` makes the interleaved LM corpus of them. Works in units
like `text2token.synthesize`: kill it at any moment and call it again.
"""

from __future__ import annotations

from lm.data.text_files import is_url
from runtime.stage import Stage

from .reading.config import AloudConfig

STAGE = Stage(
    name="text2token.aloud",
    config=AloudConfig,
    implementation="text2token.reading.corpus_reading:read_corpus_aloud",
    summary="Read spans of texts aloud, as audio, in bulk (InSerter's interleaved corpus).",
    inputs=lambda config: [
        *(one for one in (config.texts, config.texts_heldout) if not is_url(one)),
        *config.model_inputs,
    ],
    example="texts=runs/corpus/texts.jsonl out=runs/aloud processes=2",
    speed_options=("processes", "bulk", "requests"),
)

if __name__ == "__main__":
    STAGE.exit()
