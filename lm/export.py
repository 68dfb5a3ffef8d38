"""Stage lm.export: a Megatron checkpoint as a Hugging Face folder that transformers, vLLM and SGLang load as it is.

    python -m lm.export checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export

writes ``<out>/model/``: ``config.json``, ``model*.safetensors``, ``generation_config.json``, the vocabulary's files and
the chat template; and of a model that reads speech as vectors ``<out>/hearing/``: its connector and its speech encoder
(`lm.huggingface.speech_export`). The options stand in `lm.huggingface.config`, the model families in
`lm.huggingface.families`.
"""

from __future__ import annotations

from runtime.stage import Stage

from .huggingface.config import ExportConfig

STAGE = Stage(
    name="lm.export",
    config=ExportConfig,
    implementation="lm.huggingface.checkpoint_export:export_checkpoint",
    summary="Export a language model checkpoint as a Hugging Face folder (Llama, Qwen2, Qwen3, GLM).",
    inputs=lambda config: [config.checkpoint, config.vocabulary],
    example="checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export",
)

if __name__ == "__main__":
    STAGE.exit()
