"""Stage ``decoder.resynthesise``: tokenised utterances -> audio files and a manifest, for a judge to transcribe.

    python -m decoder.resynthesise tokens=runs/quickstart/tokens/heldout_sentence.parquet \\
        decoder=runs/quickstart/decoder out=runs/quickstart/resynthesis

Writes <out>/manifest.jsonl (NeMo) and <out>/audio/*.flac. Audio is made in batches that depend on the options only;
after a kill, finished batches are kept and the rest is made as it would have been.
"""

from __future__ import annotations

from runtime.stage import Stage

from .config import VOCODERS
from .resynthesis_config import ResynthesiseConfig

STAGE = Stage(
    name="decoder.resynthesise",
    config=ResynthesiseConfig,
    implementation="decoder.resynthesis:resynthesise",
    summary="Speak tokenised utterances with a decoder: audio files and a manifest that a judge can transcribe.",
    inputs=lambda config: [config.tokens, config.decoder, *({config.vocoder} - set(VOCODERS))],
    example="tokens=runs/quickstart/tokens/heldout_sentence.parquet decoder=runs/quickstart/decoder "
    "out=runs/quickstart/resynthesis",
)

if __name__ == "__main__":
    STAGE.exit()
