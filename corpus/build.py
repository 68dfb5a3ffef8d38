"""Stage corpus.build: the spoken corpus of the built-in world in many voices, and of a user's own recordings.

    python -m corpus.build out=runs/corpus num_utterances=6000

Writes into ``out``: ``train.jsonl``, ``heldout_sentence.jsonl`` (seen voices, unseen texts), ``heldout_voice.jsonl``
(unseen voices, unseen texts), ``heldout_words.jsonl`` (seen voices, random words without grammar),
``heldout_dialogue.jsonl`` (dialogues in seen voices, about stories that no training data contains), ``audio/``,
``questions.jsonl``, ``dialogues.jsonl`` and ``dialogues_heldout.jsonl`` (which questions follow each other),
``texts.jsonl``, ``texts_heldout.jsonl``, ``sentences.txt`` (every sentence of the world) and ``voices.json``.
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .world.build_config import BuildConfig
from .world.spoken_corpus import build_corpus


def run(config: BuildConfig, run: Run) -> dict[str, Any]:
    """Import the user's recordings, plan and synthesise the built-in speech, write the lists; returns the metrics."""
    return build_corpus(config, run)


STAGE = Stage(
    name="corpus.build",
    config=BuildConfig,
    run=run,
    summary="Make a spoken corpus on the spot (and add your own recordings to it).",
    inputs=lambda config: [config.manifest],
    example="out=runs/corpus num_utterances=6000",
    speed_options=("workers",),
)

if __name__ == "__main__":
    STAGE.exit()
