"""Stage ``evaluation.decoder_set``: a speech decoder on any manifest, its speech and the recordings.

    python -m evaluation.decoder_set decoder=runs/decoder tokenizer=runs/tokenizer/artefact data=test_clean.jsonl \\
        speaking.speaker=clip.wav recogniser=models/whisper-large-v3 dnsmos=true out=runs/decoder_set

The recordings are encoded (or come as ``tokens``), spoken again and measured: word errors by a fixed recogniser,
similarity of the voices, STOI, PESQ, mel-cepstral distance, pitch, hop modulation, UTMOS and DNSMOS, as in
`evaluation.quality`; and the decoder's real-time factor (metrics ``decoding.rtf`` and ``decoding.cpu_rtf``).

Raw measures are kept (details.jsonl, measured.json); `evaluation.quality_score` scores them again without a model, to
the same bytes. After a kill it goes on.

Writes <out>/scores.json (every number with its stamp and 95 % interval), quality.md (the table), tokens.parquet,
speech/ and listening.html.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .reconstruction.config import DecoderSetConfig

STAGE = Stage(
    name="evaluation.decoder_set",
    config=DecoderSetConfig,
    implementation="evaluation.reconstruction.set_measurement:measure_decoder",
    summary="Measure a speech decoder on any manifest: WER, voices, STOI, PESQ, MCD, DNSMOS, buzz, real-time factor.",
    inputs=lambda config: config.local_inputs,
    example="decoder=runs/quickstart/decoder tokenizer=runs/quickstart/tokenizer/artefact "
    "data=runs/quickstart/corpus/heldout_sentence.jsonl speaking.voices=[espeak-f2] out=runs/decoder_set",
    speed_options=("processes", "threads"),
    headlines=(
        Headline("resynthesised.asr_wer", "decoder: WER of its speech by the recogniser"),
        Headline("resynthesised.judge_wer", "decoder: WER of its speech by the judge of the closed world"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
