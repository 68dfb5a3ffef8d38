"""Stage ``evaluation.tokenizer_set``: a speech tokenizer on any manifest, its tokens and the speech made of them.

    python -m evaluation.tokenizer_set tokenizer=runs/tokenizer/artefact data=test_clean.jsonl out=runs/test_clean \\
        decoder=runs/decoder speaking.speaker=clip.wav recogniser=models/whisper-large-v3

Of the tokens: word errors of the text read from them by the tokenizer's own back half, with the quantiser and without,
the same under noise with the unit edit distance (UED), use and perplexity of the codebook, frame rate and bit rate. Of
the speech that ``decoder`` makes of them and of the recordings: word errors by a fixed recogniser (reconstruction WER)
and all metrics of `evaluation.quality`.

Raw measures are kept (details.jsonl, measured.json); `evaluation.quality_score` scores them again without a model, to
the same bytes. After a kill it goes on.

Writes <out>/scores.json (every number with its stamp and 95 % interval), quality.md (the tables), tokens.parquet,
speech/ and listening.html.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .reconstruction.config import TokenizerSetConfig

STAGE = Stage(
    name="evaluation.tokenizer_set",
    config=TokenizerSetConfig,
    implementation="evaluation.reconstruction.set_measurement:measure_tokenizer",
    summary="Measure a speech tokenizer on any manifest: WER through tokens and through speech, UED, codebook, rates.",
    inputs=lambda config: config.local_inputs,
    example="tokenizer=runs/quickstart/tokenizer/artefact data=runs/quickstart/corpus/heldout_sentence.jsonl "
    "decoder=runs/quickstart/decoder speaking.voices=[espeak-f2] out=runs/tokenizer_set",
    speed_options=("processes", "threads"),
    headlines=(
        Headline("resynthesised.asr_wer", "tokenizer: reconstruction WER by the recogniser"),
        Headline("resynthesised.judge_wer", "tokenizer: reconstruction WER by the judge of the closed world"),
        Headline("tokens.wer_with_vq", "tokenizer: WER read from the tokens"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
