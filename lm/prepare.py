"""Tokenised speech and texts -> LM corpora of the formats text, speech, asr and tts, each with a held-out split.

    python -m lm.prepare vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl \
        texts_heldout=runs/corpus/texts_heldout.jsonl out=runs/corpora
    python -m lm.prepare speech=vectors vocabulary=runs/vocabulary_of_vectors/vocabulary corpus=runs/corpus \
        vectors.encoder=runs/tokenizer/artefact 'formats=[asr]' out=runs/corpora_of_vectors

With ``speech=vectors`` documents name the clips that an encoder hears in training (or its stored vectors).
Each format becomes a folder ``<out>/<format>``; a call that was interrupted goes on with the formats not yet finished.
"""

from __future__ import annotations

from runtime.stage import Stage

from .data.preparation_config import LmPrepareConfig

STAGE = Stage(
    name="lm.prepare",
    config=LmPrepareConfig,
    implementation="lm.data.preparation:prepare_corpora",
    summary="Turn tokenised speech and texts into LM corpora: text, speech, asr, tts.",
    inputs=lambda config: [
        *(config.vocabulary, config.tokens, config.corpus, config.texts, config.texts_heldout),
        *config.vectors.inputs,
    ],
    speed_options=("processes", "bulk"),
    example="vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/corpora",
)

if __name__ == "__main__":
    STAGE.exit()
