"""Stage ``tokenizer.features``: a whole corpus to a frozen speech encoder's vectors, stored.

    python -m tokenizer.features encoder=runs/tokenizer/artefact corpus=runs/corpus out=runs/features processes=2

Takes what ``tokenizer.encode`` takes; writes float16 vectors in shards that are memory-mapped, and an index of
utterances for each split (`corpus.features`). Works in units that are done once: kill it, or any of its workers, at any
moment and call it again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .encoding.config import FeaturesConfig

STAGE = Stage(
    name="tokenizer.features",
    config=FeaturesConfig,
    implementation="tokenizer.encoding.feature_encoding:encode_features",
    summary="Encode a corpus of speech to continuous vectors of a frozen encoder (float16 shards and an index).",
    inputs=lambda config: [config.encoder, config.corpus],
    example="encoder=runs/tokenizer/artefact layer=back corpus=runs/corpus out=runs/features processes=2",
    speed_options=("processes", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
