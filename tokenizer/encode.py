"""Stage ``tokenizer.encode``: a whole corpus to speech tokens in Parquet.

    python -m tokenizer.encode tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2

Reads NeMo manifests, lhotse Shar and tarred audio (`tokenizer.encoding.bulk_speech`); writes ``<out>/<split>.parquet``
for a manifest, ``<out>/<split>/`` with a file a shard for the others. Works in units that are done once: kill it, or
any of its workers, at any moment and call it again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .encoding.config import EncodeConfig

STAGE = Stage(
    name="tokenizer.encode",
    config=EncodeConfig,
    implementation="tokenizer.encoding.corpus_encoding:encode_corpus",
    summary="Encode a corpus of speech to speech tokens (Parquet).",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2",
    speed_options=("processes", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
