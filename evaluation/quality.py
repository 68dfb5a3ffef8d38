"""Stage ``evaluation.quality``: quality of resynthesised speech as one table, and a page to listen to.

    python -m evaluation.quality corpus=runs/quickstart/corpus out=runs/quickstart/quality \\
        resynthesis.flow=runs/quickstart/resynthesis resynthesis.griffin_lim=runs/quickstart/resynthesis_griffin_lim

One row for the recordings themselves and one for each resynthesis: the word error rate of the independent judge (and of
a recogniser given by path or URL), the metrics of `evaluation.speech.objective_metrics`, the buzz at the frame rate
(`evaluation.speech.hop_modulation`), the similarity of the voices by the speaker encoder of a decoder, and the ratings
that UTMOS (given by path) and DNSMOS (``dnsmos=true``) predict. A model that is not given has no column. With
``vocoder=runs/quickstart/vocoder`` one more row is of the recordings through mel and vocoder alone: what is lost there,
no decoder gives back.

What was measured is kept raw (details.jsonl, roughness.jsonl, measured.json): `evaluation.quality_score` makes the same
scores of it without a model. After a kill the stage goes on from the last sound that a model heard.

Writes <out>/scores.json (every number with its stamp and 95 % interval), quality.md and listening.html: a page with the
sound and spectrogram of some utterances from each source (files in sounds/ and sheets/), and copy_synthesis/ with the
sounds of that row.
"""

from __future__ import annotations

from runtime.stage import Stage

from .speech.config import QualityConfig

STAGE = Stage(
    name="evaluation.quality",
    config=QualityConfig,
    implementation="evaluation.speech.quality_measurement:measure",
    summary="Measure resynthesised speech: recognisers, spectra, pitch, voices; a table and a listening page.",
    inputs=lambda config: config.local_inputs,
    example="corpus=runs/quickstart/corpus resynthesis.flow=runs/quickstart/resynthesis out=runs/quickstart/quality",
    speed_options=("processes",),
)

if __name__ == "__main__":
    STAGE.exit()
