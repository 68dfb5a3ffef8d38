"""Stage ``tokenizer.evaluate``: word error rates read from the tokens, token stability under noise, speed and latency.

    python -m tokenizer.evaluate tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation

Word error rates are of the tokenizer's own back half, with the quantiser and with it bypassed (same weights). Under
noise the tokens are compared with those of the clean audio (`tokenizer.scoring.robustness`). What is scored is kept in
``<out>/scores.jsonl``, so that a killed run goes on where it was.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .scoring.config import TokenizerEvaluateConfig

STAGE = Stage(
    name="tokenizer.evaluate",
    config=TokenizerEvaluateConfig,
    implementation="tokenizer.scoring.report:evaluate",
    summary="Score a speech tokenizer: WER with and without VQ, steadiness under noise, codebook use, speed, latency.",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokenizer-evaluation",
    headlines=(Headline("wer_with_vq", "tokenizer WER through 12.5 Hz tokens, unseen sentences"),),
)

if __name__ == "__main__":
    STAGE.exit()
