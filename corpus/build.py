"""Stage corpus.build: the spoken corpus of the built-in world in many voices, and of a user's own recordings.

    python -m corpus.build out=runs/corpus num_utterances=6000

Writes into ``out``: ``train.jsonl``, ``heldout_sentence.jsonl`` (seen voices, unseen texts), ``heldout_voice.jsonl``
(unseen voices, unseen texts), ``heldout_words.jsonl`` (seen voices, random words without grammar),
``heldout_dialogue.jsonl`` (dialogues in seen voices, about stories that no training data contains), ``audio/``,
``questions.jsonl``, ``dialogues.jsonl`` and ``dialogues_heldout.jsonl`` (which questions follow each other),
``texts.jsonl``, ``texts_heldout.jsonl``, ``sentences.txt`` (every sentence of the world) and ``voices.json``.
"""

from __future__ import annotations

from runtime.stage import Stage

from .world.build_config import BuildConfig

STAGE = Stage(
    name="corpus.build",
    config=BuildConfig,
    implementation="corpus.world.spoken_corpus:build_corpus",
    summary="Make a spoken corpus on the spot (and add your own recordings to it).",
    inputs=lambda config: [config.manifest],
    example="out=runs/corpus num_utterances=6000",
    speed_options=("workers",),
)

if __name__ == "__main__":
    STAGE.exit()
