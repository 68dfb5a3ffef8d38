"""Stage corpus.speech_import: a published speech corpus as manifests or lhotse's Shar, with speakers and licence.

    python -m corpus.speech_import librispeech source=/data/LibriSpeech out=runs/librispeech

The folder is read as its publishers lay it out (`corpus.published.catalogue` has the table). Writes ``<split>.jsonl``
(or shards in ``<split>/``), ``splits.json``, ``LICENCE.txt`` and ``bad_records.jsonl`` into ``out``. Works in units
that are done once: kill it at any moment and call it again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .published.catalogue import corpus_table
from .published.import_config import SpeechImportConfig

STAGE = Stage(
    name="corpus.speech_import",
    config=SpeechImportConfig,
    implementation="corpus.published.importing:import_corpus",
    summary="Import a published speech corpus: manifests or lhotse's Shar.",
    inputs=lambda config: [],  # the corpus is named by its folder: to read hundreds of gigabytes here would take hours
    example="librispeech source=/data/LibriSpeech out=runs/librispeech processes=8",
    speed_options=("processes", "bulk"),
    positional="name",
    notes=corpus_table,
)

if __name__ == "__main__":
    STAGE.exit()
