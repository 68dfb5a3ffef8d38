"""Continue a prompt with an exported model of any family, in text, in speech tokens, or in both.

speechweave lm generate runs/lm_export/model --text "the capital of france"
speechweave lm generate runs/lm_export/model --text "the sea is blue" --allowed text --temperature 0.8 --seed 3
speechweave lm generate runs/lm_export/model --task tts --text "the sea is blue" --speaker anna
speechweave lm generate runs/lm_export/model --task asr --speech "12 407 9 9 31"
speechweave lm generate runs/lm_export/model --task chat --speech "12 407 9 9 31" --json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import run_command
from runtime.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .data.vocabulary import Vocabulary

TASKS = ("continue", "asr", "tts", "chat")


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave lm generate",
        description="Continue a prompt with an exported model (Llama, Qwen2, Qwen3, GLM).",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="folder that lm export wrote")
    parser.add_argument("--task", default="continue", choices=TASKS, help="format of the prompt (continue)")
    parser.add_argument("--text", default="", help="text of the prompt")
    parser.add_argument("--speech", default="", help="codes of the speech tokenizer, parted by spaces")
    parser.add_argument("--speaker", default="", help="voice of tts (default: the vocabulary's first)")
    parser.add_argument("--allowed", choices=("text", "speech", "any"), help="what may come (any; asr: text)")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="(128)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (0)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus mass (1)")
    parser.add_argument("--seed", type=int, default=1, help="of the sampling (1)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="(float32)")
    parser.add_argument("--device", default="cpu", help="(cpu)")
    parser.add_argument("--json", action="store_true", help="ids, text and codes as JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), generate, arguments)


def generate(options: argparse.Namespace) -> None:
    """Load the model, continue the prompt, print."""
    from .data.rendering import render
    from .inference.hf_generation import TransformersGenerator

    if not 0 < options.top_p <= 1 or options.temperature < 0 or options.max_new_tokens < 1:
        found = f"top-p {options.top_p}, temperature {options.temperature}, max-new-tokens {options.max_new_tokens}"
        raise UserError("options", found=found, remedy="give top-p in (0, 1], temperature >= 0, a positive number")
    generator = TransformersGenerator.from_pretrained(options.model, dtype=options.dtype, device=options.device)
    vocabulary = generator.vocabulary
    prompt = make_prompt(options, vocabulary)
    (ids,) = generator.generate(
        [prompt],
        max_new_tokens=options.max_new_tokens,
        stop=[vocabulary.eos],
        allowed=options.allowed or ("text" if options.task == "asr" else "any"),
        temperature=options.temperature,
        top_p=options.top_p,
        seeds=[options.seed],
    )
    if options.json:
        answer = {"ids": ids.tolist(), "text": vocabulary.decode_text(ids), "codes": vocabulary.codes(ids).tolist()}
        print(json.dumps(answer | {"prompt": prompt.tolist()}))
    else:
        print(render(prompt, vocabulary, num_shown=8))
        print("->", render(ids, vocabulary, num_shown=8))


def make_prompt(options: argparse.Namespace, vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
    """The prompt of a task.

    Raises:
        UserError: neither text nor speech where one is needed, or codes that are none.
    """
    import numpy as np

    from .data import formats

    try:
        codes = np.array([int(word) for word in options.speech.split()], dtype=np.int64)
        speech = vocabulary.speech_ids(codes)
    except ValueError as error:
        remedy = f"give numbers from 0 to {vocabulary.num_speech_tokens - 1}, parted by spaces"
        raise UserError("option --speech", found=str(error), remedy=remedy) from error
    needed = "speech" if options.task == "asr" else "text" if options.task == "tts" else ""
    if (needed and not getattr(options, needed)) or not (options.text or len(codes)):
        found = f"no {needed or 'text and no speech'} for {options.task}"
        raise UserError("the prompt", found=found, remedy=f"add --{needed or 'text'} ...")
    if options.task == "asr":
        return formats.asr_prompt(vocabulary.codes(speech), vocabulary)
    if options.task == "tts":
        speaker = options.speaker or next(iter(vocabulary.speakers), "")
        return formats.tts_prompt(options.text, speaker, vocabulary)
    if options.task == "chat":
        return formats.chat_prompt(vocabulary.codes(speech) if len(codes) else options.text, vocabulary)
    text = np.array(vocabulary.encode_text(options.text), dtype=np.int32)
    spoken = formats.speech_span(vocabulary.codes(speech), vocabulary) if len(codes) else speech
    return np.concatenate([text if options.text else text[:0], spoken])


if __name__ == "__main__":
    sys.exit(main())
