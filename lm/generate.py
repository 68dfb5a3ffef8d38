"""Continuation of a prompt by an exported model of any family, in text, in speech tokens, or in both."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.command import Command
from runtime.config import Options, option
from runtime.errors import check_option

from .data.reply_format import KINDS, ReplyFormat


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
        marks: whether the model's spans of speech have marks around them (`<|begin_of_audio|>`); false: text and speech
            tokens follow each other freely, also in the prompt.
        reply: layout of a reply of chat: text_guided, streaming (text and speech in turn) or speech; "": free.
        text_block: text tokens of a block of streaming.
        speech_block: its speech tokens.
        transcribes: a reply to speech begins with the question's words.
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
    marks: bool = True
    reply: str = option("", one_of=("", *KINDS))
    text_block: int = option(13, at_least=1)
    speech_block: int = option(26, at_least=1)
    transcribes: bool = False
    max_new_tokens: int = option(128, at_least=1)
    temperature: float = option(0.0, at_least=0)
    top_p: float = option(1.0, above=0, at_most=1)
    seed: int = 1
    dtype: str = option("float32", one_of=("float32", "bfloat16"))
    device: str = "cpu"
    json: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        only_chat = "a reply answers a question: set task=chat, or leave it out"
        check_option(not self.reply or self.task == "chat", "reply", self.reply, only_chat)
        one_rule = "the format of the reply says what may come: leave one of the two out"
        check_option(not self.reply or self.allowed is None, "allowed", self.allowed, one_rule)


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
        has_marks=config.marks,
        reply=ReplyFormat(
            kind=config.reply,
            transcribes=config.transcribes,
            text_block=config.text_block,
            speech_block=config.speech_block,
        )
        if config.reply
        else None,
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
speechweave lm generate runs/lm_export/model --task chat --speech "12 407 9 9 31" --reply streaming
speechweave lm generate runs/lm_export/model --text "the sea" --allowed speech --marks false
""",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
