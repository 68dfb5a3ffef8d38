"""Continuation of a prompt by an exported model of any family, in text, in speech tokens, or in both."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.command import Command
from runtime.config import Options, option


@dataclass(kw_only=True)
class GenerateConfig(Options):
    """Options of lm.generate.

    Attributes:
        model: folder that lm export wrote.
        task: format of the prompt.
        text: text of the prompt.
        speech: codes of the speech tokenizer, separated by spaces.
        speaker: voice of tts ("" = the vocabulary's first).
        allowed: what may come (default: any; asr: text).
        max_new_tokens: limit of the answer.
        temperature: 0 is greedy.
        top_p: nucleus mass.
        seed: of the sampling.
        dtype: of the weights.
        device: a torch device.
        json: print ids, text and codes as JSON.
    """

    model: str
    task: str = option("continue", one_of=("continue", "asr", "tts", "chat"))
    text: str = ""
    speech: str = ""
    speaker: str = ""
    allowed: str | None = option(None, one_of=("text", "speech", "any"))
    max_new_tokens: int = option(128, at_least=1)
    temperature: float = option(0.0, at_least=0)
    top_p: float = option(1.0, above=0, at_most=1)
    seed: int = 1
    dtype: str = option("float32", one_of=("float32", "bfloat16"))
    device: str = "cpu"
    json: bool = False


def run(config: GenerateConfig) -> None:
    """Load the model, continue the prompt, print."""
    from .inference.continuation import print_continuation

    print_continuation(
        config.model,
        task=config.task,
        text=config.text,
        speech=config.speech,
        speaker=config.speaker,
        allowed=config.allowed,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
        dtype=config.dtype,
        device=config.device,
        is_json=config.json,
    )


COMMAND = Command(
    name="lm.generate",
    words="lm generate",
    config=GenerateConfig,
    run=run,
    positional="model",
    summary="Continue a prompt with an exported model (Llama, Qwen2, Qwen3, GLM).",
    example="""
speechweave lm generate runs/lm_export/model --text "the capital of france"
speechweave lm generate runs/lm_export/model --text "the sea is blue" --allowed text --temperature 0.8 --seed 3
speechweave lm generate runs/lm_export/model --task tts --text "the sea is blue" --speaker anna
speechweave lm generate runs/lm_export/model --task asr --speech "12 407 9 9 31"
speechweave lm generate runs/lm_export/model --task chat --speech "12 407 9 9 31" --json
""",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
