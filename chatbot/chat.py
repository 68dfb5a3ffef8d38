"""Talk to a chatbot in the terminal: spoken, typed, or by sound files.

speechweave chat                                  a dialogue: microphone, typed questions, sound files
speechweave chat question.wav --out answer.wav    answer one spoken question; several files are one dialogue
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.command import run_command
from runtime.errors import UserError

BUNDLE = "runs/quickstart/bundle"
OUT = Path("answer.wav")
EXAMPLES = """examples:
  speechweave chat                                     talk: press Enter and speak, or type, or name a sound file
  speechweave chat question.wav                        print what it hears and says, write answer.wav
  speechweave chat one.wav two.wav --out reply.flac    a dialogue of two turns: reply-1.flac, reply-2.flac
  speechweave chat q.wav --bundle my/bundle --json     one JSON object a question, for scripts

The bundle is the folder that chatbot.bundle (or the quickstart) made. Any sample rate, mono or stereo, will do.
Microphone and loudspeaker need the package sounddevice: pip install speechweave[microphone]
"""


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave chat",
        description="Talk to a chatbot: it answers spoken or typed questions in speech.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("questions", type=Path, nargs="*", metavar="QUESTION", help="spoken questions, audio files")
    parser.add_argument("--out", type=Path, help=f"where the spoken answer goes ({OUT}; numbered if there are several)")
    parser.add_argument("--bundle", type=Path, default=Path(BUNDLE), help=f"the chatbot ({BUNDLE})")
    parser.add_argument("--voice", help="that answers are spoken in (the bundle's own)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--play", action="store_true", help="play the answers of sound files, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object a question instead of lines")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), chat, arguments)


def chat(options: argparse.Namespace) -> None:
    """Answer the files, or hold a dialogue."""
    import asyncio

    if options.out is not None:
        check_output(options.out)
    if options.json and not options.questions:
        raise UserError("option --json", found="no question", remedy="name sound files: it is for scripts")
    from corpus.audio.files import read_audio

    from .settings import ChatSettings, bundle_folder

    audios = [read_audio(question) for question in options.questions]
    ChatSettings.load(bundle_folder(options.bundle))  # a wrong folder is told before anything heavy is loaded
    from .terminal.screen import answer_files, converse

    asyncio.run(answer_files(options, audios) if audios else converse(options))


def numbered(out: Path, number: int, count: int) -> Path:
    """The file of answer ``number`` (from 1) of ``count``; 0 is not known beforehand."""
    return out if count == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")


def check_output(file: Path) -> None:
    """Raise a `UserError` unless libsndfile can write a file of this name, before any work is done."""
    import soundfile

    kind = file.suffix.lstrip(".").upper()
    if kind not in soundfile.available_formats() or not soundfile.check_format(kind, "PCM_16"):
        raise UserError("option --out", found=f"found {str(file)!r}", remedy="give a name that ends in .wav or .flac")


if __name__ == "__main__":
    sys.exit(main())
