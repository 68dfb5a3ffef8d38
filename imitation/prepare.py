"""Stage imitation.prepare: pairs of imitation.ask -> an LM corpus about speech, on which a connector learns.

    python -m imitation.prepare pairs=runs/mtbi/pairs vocabulary=runs/vocabulary/vocabulary \\
        vectors.features=runs/features out=runs/mtbi/corpus

Train the connector alone on it: ``lm.train corpora.imitation=runs/mtbi/corpus/imitation init=<the text model>
'speech.train=[connector]'`` (arXiv 2505.18644, stage 2).
"""

from __future__ import annotations

from runtime.stage import Stage

from .prepare_config import ImitationPrepareConfig

STAGE = Stage(
    name="imitation.prepare",
    config=ImitationPrepareConfig,
    implementation="imitation.documents:write_documents",
    summary="Make the corpus on which a connector learns to imitate a text model's answers, in speech (MTBI).",
    inputs=lambda config: [config.pairs, config.vocabulary, config.corpus, *config.vectors.inputs],
    speed_options=("processes", "bulk"),
    example="pairs=runs/mtbi/pairs vocabulary=runs/vocabulary/vocabulary vectors.features=runs/features "
    "out=runs/mtbi/corpus",
)

if __name__ == "__main__":
    STAGE.exit()
