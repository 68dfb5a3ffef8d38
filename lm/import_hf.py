"""Stage lm.import_hf: a Hugging Face model as a checkpoint to begin training with, its vocabulary grown by speech.

    python -m lm.vocabulary base=MODEL tokens=runs/tokens out=runs/vocabulary
    python -m lm.import_hf model=MODEL vocabulary=runs/vocabulary/vocabulary out=runs/base
    python -m lm.train --config runs/base/model.yaml init=runs/base vocabulary=runs/vocabulary/vocabulary ...

``<out>/checkpoint`` loads under any tensor and pipeline parallel layout; ``<out>/model.yaml`` holds the shape, for
lm.train. The options stand in `lm.huggingface.config`, the model families in `lm.huggingface.families`.
"""

from __future__ import annotations

from runtime.stage import Stage

from .huggingface.config import ImportHfConfig

STAGE = Stage(
    name="lm.import_hf",
    config=ImportHfConfig,
    implementation="lm.huggingface.checkpoint_import:import_checkpoint",
    summary="Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.",
    inputs=lambda config: [config.model, config.vocabulary],
    example="model=GLM vocabulary=runs/vocabulary/vocabulary out=runs/base",
)

if __name__ == "__main__":
    STAGE.exit()
