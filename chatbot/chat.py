"""Answer one spoken question in speech.

speechweave chat question.wav --out answer.wav
python -m chatbot.chat question.wav --out answer.wav --bundle runs/quickstart/bundle
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus.command import run_command
from corpus.errors import UserError

BUNDLE = "runs/quickstart/bundle"
EXAMPLES = """examples:
  speechweave chat question.wav                        print what it hears and says, write answer.wav
  speechweave chat question.flac --out reply.flac      any format that libsndfile knows
  speechweave chat q.wav --bundle my/bundle --json     one JSON object for scripts

The bundle is the folder that chatbot.bundle (or the quickstart) made. Any sample rate, mono or stereo, will do.
"""


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave chat",
        description="Answer one spoken question in speech.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("question", type=Path, help="the spoken question, an audio file")
    parser.add_argument(
        "--out", type=Path, default=Path("answer.wav"), help="where the spoken answer goes (answer.wav)"
    )
    parser.add_argument("--bundle", type=Path, default=Path(BUNDLE), help=f"the chatbot ({BUNDLE})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), answer_question, arguments)


def answer_question(options: argparse.Namespace) -> None:
    """Read the question, answer it, write and print the answer."""
    from corpus.audio import read_audio, write_audio

    check_output(options.out)
    audio = read_audio(options.question)
    import torch

    from .session import Bundle, ChatSession

    torch.set_num_threads(max(1, options.threads))
    bundle = Bundle.from_pretrained(options.bundle)
    bundle.check_question(audio, str(options.question))
    answer = ChatSession(bundle).answer(audio)
    if len(answer.audio):
        write_audio(options.out, answer.audio, answer.sample_rate)
    written = str(options.out) if len(answer.audio) else None
    seconds = len(answer.audio) / answer.sample_rate
    if options.json:
        timings = {part: round(value, 4) for part, value in vars(answer.timings).items()}
        result = {"heard": answer.heard, "said": answer.said, "audio": written, "seconds": round(seconds, 3)}
        print(json.dumps(result | {"timings": timings}, ensure_ascii=False))
        return
    if answer.heard is not None:
        print(f"heard: {one_line(answer.heard)}")
    print(f"said:  {one_line(answer.said)}")
    if written is None:
        print("spoken answer: none (the model ended its speech at once)")
    else:
        print(f"spoken answer: {written} ({seconds:.1f} s, made in {answer.timings.total:.2f} s)")


def one_line(text: str) -> str:
    """A text that a terminal can show: one line, without control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def check_output(file: Path) -> None:
    """Raise a `UserError` unless libsndfile can write a file of this name, before any work is done."""
    import soundfile

    kind = file.suffix.lstrip(".").upper()
    if kind not in soundfile.available_formats() or not soundfile.check_format(kind, "PCM_16"):
        raise UserError("option --out", found=f"found {str(file)!r}", remedy="give a name that ends in .wav or .flac")


if __name__ == "__main__":
    sys.exit(main())
