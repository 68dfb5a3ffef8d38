"""Command ``speechweave chat``: talk to a chatbot in the terminal, spoken, typed, or by sound files.

speechweave chat                                  a dialogue: microphone, typed questions, sound files
speechweave chat question.wav --out answer.wav    answer one spoken question; several files are one dialogue
"""

from __future__ import annotations

from pathlib import Path

from runtime.command import Command
from runtime.errors import UserError
from runtime.record_warnings import collected_warnings

from .terminal.config import ChatConfig

EXAMPLES = """
speechweave chat                                     talk: press Enter and speak, or type, or name a sound file
speechweave chat question.wav                        print what it hears and says, write answer.wav
speechweave chat one.wav two.wav --out reply.flac    a dialogue of two turns: reply-1.flac, reply-2.flac
speechweave chat q.wav --bundle my/bundle --json     one JSON object a question, for scripts
"""
NOTES = """
The bundle is the folder that chatbot.bundle (or the quickstart) made. Any sample rate, mono or stereo, will do.
Microphone and loudspeaker need the package sounddevice: pip install speechweave[microphone]
"""


def chat(config: ChatConfig) -> None:
    """Answer the files, or hold a dialogue."""
    from corpus.audio.files import read_audio

    from .question_limits import QuestionLimits

    if config.out is not None:
        check_output(Path(config.out))
    if config.json and not config.questions:
        raise UserError("option --json", found="no question", remedy="name sound files: it is for scripts")
    with collected_warnings(is_shown=True):
        audios = [read_audio(question) for question in config.questions]
    # A wrong folder and a question of no use are reported before anything heavy is loaded.
    limits = QuestionLimits.of_bundle(config.bundle)
    for question, audio in zip(config.questions, audios, strict=True):
        limits.check(audio, question)
    from .terminal.session import hold_session

    hold_session(config, audios)


def check_output(file: Path) -> None:
    """Raise a `UserError` unless libsndfile can write a file of this name, before any work is done."""
    import soundfile

    kind = file.suffix.lstrip(".").upper()
    if kind not in soundfile.available_formats() or not soundfile.check_format(kind, "PCM_16"):
        raise UserError("option --out", found=f"found {str(file)!r}", remedy="give a name that ends in .wav or .flac")


COMMAND = Command(
    name="chatbot.chat",
    words="chat",
    config=ChatConfig,
    run=chat,
    positional="questions",
    summary="Talk to a chatbot: it answers spoken or typed questions in speech.",
    example=EXAMPLES,
    notes=NOTES,
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
