"""Read-back evaluation of the text-to-token model: word errors of its tokens for held-out sentences.

    python -m text2token.evaluate model=runs/text2token_export/model tokens=runs/tokens \
        tokenizer=runs/tokenizer/artefact out=runs/text2token_readback

The speech tokenizer's own post-VQ half (codes -> CTC) reads both the generated tokens and the real ones of the same
sentences; its errors on the real ones are the floor. No waveform is made. The paper measures WER on VCTK: 3.20.

Further metrics: length and repetition against real tokens, and whether the speakers can still be distinguished
(`text2token.readback.diversity`); a table by speaker. The tokens are kept in ``generated/<split>.parquet``, so that an
independent recogniser can judge them:

    python -m decoder.resynthesise tokens=runs/text2token_readback/generated/heldout_sentence.parquet \
        decoder=runs/decoder out=runs/readback_speech
    python -m evaluation.run corpus=runs/corpus resynthesis=runs/readback_speech out=runs/readback_judged
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .readback.config import ReadbackConfig

STAGE = Stage(
    name="text2token.evaluate",
    config=ReadbackConfig,
    implementation="text2token.readback.readback:evaluate_readback",
    summary="Read the text-to-token model's speech tokens back as text: its word error rate without a waveform.",
    inputs=lambda config: [config.model, config.tokens, config.tokenizer],
    example="model=runs/text2token_export/model tokens=runs/tokens tokenizer=runs/tokenizer/artefact out=runs/readback",
    speed_options=("batch_size", "threads", "cuda_graphs"),
    headlines=(Headline("readback_wer", "text-to-token: WER of whole held-out sentences read back"),),
)

if __name__ == "__main__":
    STAGE.exit()
