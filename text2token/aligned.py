"""Real speech as interleaved documents: spans of an utterance's words become its own speech tokens (Spirit-LM's way).

    python -m text2token.aligned tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary \
        spans.ratio=0.5 out=runs/aligned
    python -m text2token.aligned speech=vectors corpus=runs/corpus vectors.encoder=runs/tokenizer/artefact \
        words=words.jsonl vocabulary=runs/vocabulary_of_vectors/vocabulary out=runs/aligned_vectors

``words.jsonl`` states the time of each word, as a forced aligner finds it: one
``{"id": utterance, "words": [["the", 0.31, 0.42], ...]}`` a line (seconds). Any span policy chooses the words; the
recording is cut in the middle of the silence between a span and the words before and after it. Nothing is generated.
With ``speech=vectors`` a span is a segment of the recording, cut into a tar of FLAC that an encoder hears in training,
or the rows of its stored vectors.
"""

from __future__ import annotations

from runtime.stage import Stage

from .alignment.config import AlignedConfig

STAGE = Stage(
    name="text2token.aligned",
    config=AlignedConfig,
    implementation="text2token.alignment.aligned_corpus:write_aligned_corpus",
    summary="Make interleaved documents of real speech whose words have times; nothing is generated.",
    inputs=lambda config: [
        *filter(None, (config.tokens, config.corpus)),
        *(config.words, config.vocabulary, *config.vectors.inputs),
    ],
    speed_options=("processes", "bulk"),
    example="tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary out=runs/aligned",
)

if __name__ == "__main__":
    STAGE.exit()
