"""Stage lm.export_audio: a model that hears as one Hugging Face folder, Qwen2-Audio's architecture.

    python -m lm.export_audio model=runs/hearing_lm out=runs/hearing_lm_qwen2_audio

``<out>/model`` loads by ``Qwen2AudioForConditionalGeneration`` and ``Qwen2AudioProcessor`` of transformers; vLLM has
the architecture, too. For other encoders and connectors use the parts that lm.export writes.
"""

from __future__ import annotations

from runtime.stage import Stage

from .huggingface.config import ExportAudioConfig

STAGE = Stage(
    name="lm.export_audio",
    config=ExportAudioConfig,
    implementation="lm.inference.qwen2_audio:export_qwen2_audio",
    summary="Export a model that hears (Whisper's encoder, linear connector) as transformers' Qwen2-Audio.",
    inputs=lambda config: [config.model],
    example="model=runs/hearing_lm out=runs/hearing_lm_qwen2_audio",
)

if __name__ == "__main__":
    STAGE.exit()
