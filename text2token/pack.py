"""Synthesised units -> interleaved documents -> an LM corpus (2411.17607, section 2.2).

    python -m text2token.pack synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved
    python -m text2token.pack synthesised=runs/aloud vocabulary=runs/vocabulary_of_vectors/vocabulary \
        vectors.encoder=runs/tokenizer/artefact vectors.stride=1 out=runs/interleaved

Text outside the spans is kept byte for byte; a span whose speech failed the gate is text again. It generates nothing:
pack again for a smaller ratio, another text tokenizer or other places of the speech tokens in the vocabulary (the
speech tokenizer must be the same). Of audio that text2token.aloud made, documents name the clips in its tars, or their
vectors in an output of tokenizer.features: pack again for another encoder. Whether speech counts in the loss is decided
later still, when training (``losses`` of lm.train). Works in units like the synthesis: kill it and call it again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .packing.config import PackConfig

STAGE = Stage(
    name="text2token.pack",
    config=PackConfig,
    implementation="text2token.packing.corpus_packing:pack_corpus",
    summary="Pack synthesised units into an LM corpus of interleaved documents.",
    inputs=lambda config: [config.synthesised, config.vocabulary, config.span_readback or None, *config.vectors.inputs],
    example="synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved processes=2",
    speed_options=("processes", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
