"""Stage ``evaluation.cloze_set``: StoryCloze-like pairs of the built-in world, in text and in speech tokens.

    python -m evaluation.cloze_set corpus=runs/quickstart/corpus tokenizer=runs/quickstart/tokenizer/artefact \\
        out=runs/quickstart/cloze_set
    python -m evaluation.base data=runs/quickstart/cloze_set/set 'directions=[s2s,s2t]' ...

Writes <out>/set/pairs.jsonl: stories that no training data contains, each with the right ending and a wrong one of the
same form, spoken by the corpus's own voices.
"""

from __future__ import annotations

from runtime.stage import Stage

from .likelihood.cloze_config import ClozeSetConfig

STAGE = Stage(
    name="evaluation.cloze_set",
    config=ClozeSetConfig,
    implementation="evaluation.likelihood.world_cloze:make_cloze_set",
    summary="Make StoryCloze-like pairs of the built-in world, in text and in speech tokens.",
    inputs=lambda config: [config.corpus, config.tokenizer],
    example="corpus=runs/quickstart/corpus tokenizer=runs/quickstart/tokenizer/artefact out=runs/cloze_set",
    speed_options=("threads",),
)

if __name__ == "__main__":
    STAGE.exit()
