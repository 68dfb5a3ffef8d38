"""Real speech as interleaved documents: spans of an utterance's words become its own speech tokens (Spirit-LM's way).

    python -m text2token.aligned tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary \
        spans.ratio=0.5 out=runs/aligned

``words.jsonl`` states the time of each word, as a forced aligner finds it: one
``{"id": utterance, "words": [["the", 0.31, 0.42], ...]}`` a line (seconds). Any span policy chooses the words; the
recording is cut in the middle of the silence between a span and the words before and after it. Nothing is generated.
"""

from __future__ import annotations

from runtime.stage import Stage

from .alignment.config import AlignedConfig

STAGE = Stage(
    name="text2token.aligned",
    config=AlignedConfig,
    implementation="text2token.alignment.aligned_corpus:write_aligned_corpus",
    summary="Make interleaved documents of real speech whose words have times; nothing is generated.",
    inputs=lambda config: [config.tokens, config.words, config.vocabulary],
    example="tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary out=runs/aligned",
)

if __name__ == "__main__":
    STAGE.exit()
