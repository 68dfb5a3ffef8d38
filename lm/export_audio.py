"""Stage lm.export_audio: a model that hears as one Hugging Face folder, Qwen2-Audio's architecture.

    python -m lm.export_audio model=runs/hearing_lm out=runs/hearing_lm_qwen2_audio

``<out>/model`` loads by ``Qwen2AudioForConditionalGeneration`` and ``Qwen2AudioProcessor`` of transformers; vLLM has
the architecture, too. For other encoders and connectors use the parts that lm.export writes.
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .huggingface.config import ExportAudioConfig


def run(config: ExportAudioConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; metrics hold the largest difference of a logit."""
    from .inference.qwen2_audio import export_qwen2_audio

    return export_qwen2_audio(config, run)


STAGE = Stage(
    name="lm.export_audio",
    config=ExportAudioConfig,
    run=run,
    summary="Export a model that hears (Whisper's encoder, linear connector) as transformers' Qwen2-Audio.",
    inputs=lambda config: [config.model],
    example="model=runs/hearing_lm out=runs/hearing_lm_qwen2_audio",
)

if __name__ == "__main__":
    STAGE.exit()
