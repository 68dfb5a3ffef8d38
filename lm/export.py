"""Stage lm.export: a Megatron checkpoint as a Hugging Face folder that transformers, vLLM and SGLang load as it is.

    python -m lm.export checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export

writes ``<out>/model/``: ``config.json``, ``model*.safetensors``, ``generation_config.json``, the vocabulary's files and
the chat template; and of a model that reads speech as vectors ``<out>/hearing/``: its connector and its speech encoder
(`lm.huggingface.speech_export`). The options stand in `lm.huggingface.config`, the model families in
`lm.huggingface.families`.
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .huggingface.config import ExportConfig


def run(config: ExportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; metrics hold the largest difference of a logit."""
    from .huggingface.checkpoint_export import export_checkpoint

    return export_checkpoint(config, run)


STAGE = Stage(
    name="lm.export",
    config=ExportConfig,
    run=run,
    summary="Export a language model checkpoint as a Hugging Face folder (Llama, Qwen2, Qwen3, GLM).",
    inputs=lambda config: [config.checkpoint, config.vocabulary],
    example="checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export",
)

if __name__ == "__main__":
    STAGE.exit()
