"""Stage lm.import_hf: a Hugging Face model as a checkpoint to begin training with, its vocabulary grown by speech.

    python -m lm.vocabulary base=MODEL tokens=runs/tokens out=runs/vocabulary
    python -m lm.import_hf model=MODEL vocabulary=runs/vocabulary/vocabulary out=runs/base
    python -m lm.train --config runs/base/model.yaml init=runs/base vocabulary=runs/vocabulary/vocabulary ...

``<out>/checkpoint`` loads under any tensor and pipeline parallel layout; ``<out>/model.yaml`` holds the shape, for
lm.train. The options stand in `lm.huggingface.config`, the model families in `lm.huggingface.families`.
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .huggingface.config import ImportHfConfig


def run(config: ImportHfConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/checkpoint`` (weights only, step 0) and ``<out>/model.yaml``."""
    from .huggingface.checkpoint_import import import_checkpoint

    return import_checkpoint(config, run)


STAGE = Stage(
    name="lm.import_hf",
    config=ImportHfConfig,
    run=run,
    summary="Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.",
    inputs=lambda config: [config.model, config.vocabulary],
    example="model=GLM vocabulary=runs/vocabulary/vocabulary out=runs/base",
)

if __name__ == "__main__":
    STAGE.exit()
