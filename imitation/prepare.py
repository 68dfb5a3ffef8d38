"""Stage imitation.prepare: pairs of imitation.ask -> an LM corpus about speech, on which a connector learns.

    python -m imitation.prepare pairs=runs/mtbi/pairs vocabulary=runs/vocabulary/vocabulary \\
        vectors.features=runs/features out=runs/mtbi/corpus

Train the connector alone on it: ``lm.train corpora.imitation=runs/mtbi/corpus/imitation init=<the text model>
'speech.train=[connector]'`` (arXiv 2505.18644, stage 2).
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .prepare_config import ImitationPrepareConfig


def run(config: ImitationPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/imitation``; returns its numbers."""
    from .documents import write_documents

    return write_documents(config, run)


STAGE = Stage(
    name="imitation.prepare",
    config=ImitationPrepareConfig,
    run=run,
    summary="Make the corpus on which a connector learns to imitate a text model's answers, in speech (MTBI).",
    inputs=lambda config: [config.pairs, config.vocabulary, config.corpus, *config.vectors.inputs],
    example="pairs=runs/mtbi/pairs vocabulary=runs/vocabulary/vocabulary vectors.features=runs/features "
    "out=runs/mtbi/corpus",
)

if __name__ == "__main__":
    STAGE.exit()
