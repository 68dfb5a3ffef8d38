"""Tokenised speech and texts -> LM corpora of the formats text, speech, asr and tts, each with a held-out split.

    python -m lm.prepare vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl \
        texts_heldout=runs/corpus/texts_heldout.jsonl out=runs/corpora
    python -m lm.prepare speech=vectors vocabulary=runs/vocabulary_of_vectors/vocabulary corpus=runs/corpus \
        vectors.encoder=runs/tokenizer/artefact 'formats=[asr]' out=runs/corpora_of_vectors

With ``speech=vectors`` documents name the clips that an encoder hears in training (or its stored vectors).
Each format becomes a folder ``<out>/<format>`` of shards, written in units by ``processes`` workers here, or on a
cluster (``bulk.executor=slurm bulk.slurm.partition=cpu processes=64``). Kill it, or any worker, at any moment and call
it again: finished units are kept, and the corpus is byte for byte that of an unbroken run with one worker.
"""

from __future__ import annotations

from runtime.stage import Stage

from .data.preparation_config import LmPrepareConfig
from .data.text_files import is_url

STAGE = Stage(
    name="lm.prepare",
    config=LmPrepareConfig,
    implementation="lm.data.preparation:prepare_corpora",
    summary="Turn tokenised speech and texts into LM corpora: text, speech, asr, tts.",
    inputs=lambda config: [
        *(config.vocabulary, config.tokens, config.corpus),
        *(one for one in (config.texts, config.texts_heldout) if not is_url(one)),
        *config.vectors.inputs,
    ],
    speed_options=("processes", "bulk"),
    tolerances=("max_bad_share",),
    example="vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/corpora",
)

if __name__ == "__main__":
    STAGE.exit()
