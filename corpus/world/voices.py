"""Voices of the built-in corpus: engine, engine settings, and the role of each (training, held-out, answer)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from corpus.audio.files import Samples
from runtime.artefact import read_json
from runtime.errors import UserError, check_option

from . import espeak, flite

SEEN, HELD_OUT, ANSWER = "seen", "heldout", "answer"
ENGINES = ("auto", "espeak")


@dataclass(frozen=True, kw_only=True)
class WorldVoice:
    """One speaker.

    Attributes:
        name: the speaker's name in manifests.
        engine: "espeak" or "flite".
        voice: the engine's name of it.
        role: "seen" (training), "heldout" (only in heldout_voice), "answer" (replies, and more training data).
        rate: espeak-ng's words a minute.
        pitch: espeak-ng's, 0 to 100.
        stretch: flite's factor on durations.
        spread: of pace and pitch from utterance to utterance (0 to 1).
    """

    name: str
    engine: str
    voice: str
    role: str = SEEN
    rate: int = 160
    pitch: int = 50
    stretch: float = 1.0
    spread: float = 1.0

    def say(self, text: str, pace: float, pitch: float) -> tuple[Samples, int]:
        """Synthesise ``text``.

        Args:
            text: commas, full stops and question marks shape the prosody.
            pace: -1 (slowest) to 1 (fastest): up to 6 % at full spread.
            pitch: -1 (lowest) to 1 (highest): up to 5 of espeak-ng's pitch steps at full spread.

        Returns:
            (S,) float32 samples and their sample rate.
        """
        speed = 1 + 0.06 * self.spread * pace
        if self.engine == "flite":
            return flite.speak(text, self.voice, stretch=self.stretch / speed)
        steps = round(self.pitch + 5 * self.spread * pitch)
        return espeak.speak(text, self.voice, rate=round(self.rate * speed), pitch=steps)

    def describe(self) -> dict[str, Any]:
        """Plain data for voices.json."""
        return asdict(self)


class VoiceList(NamedTuple):
    """The voices of a corpus, and the name of the one that speaks the replies."""

    answer: str
    voices: list[WorldVoice]

    def trainable(self, name: str = "", option: str = "voice") -> WorldVoice:
        """A voice of the training data by its name; "" for the answer voice.

        Raises:
            UserError: none has this name; names ``option``.
        """
        known = {voice.name: voice for voice in self.voices if voice.role != HELD_OUT}
        chosen = name or self.answer
        check_option(chosen in known, option, chosen, f"the training voices are {', '.join(sorted(known))}")
        return known[chosen]


def read_voices(corpus: Path | str) -> VoiceList:
    """The voices of ``voices.json`` in a folder of corpus.build.

    Raises:
        UserError: no such file, or another content.
    """
    file, remedy = Path(corpus) / "voices.json", "give the output folder of corpus.build"
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy=remedy)
    listed = read_json(file)
    try:
        return VoiceList(listed["answer"], [WorldVoice(**voice) for voice in listed["voices"]])
    except (KeyError, TypeError) as error:
        raise UserError(str(file), found=f"no list of voices ({error})", remedy=remedy) from error


def espeak_voice(variant: str, pitch: int, rate: int = 160, *, language: str = "en-us", role: str = SEEN) -> WorldVoice:
    """A voice of espeak-ng: a language and one of its variants ("" for the plain voice)."""
    accent = {"en-us": "", "en-gb-x-rp": "rp-"}[language]
    voice = f"{language}+{variant}" if variant else language
    name = f"espeak-{accent}{variant.lower() or 'plain'}"
    return WorldVoice(name=name, engine="espeak", voice=voice, role=role, rate=rate, pitch=pitch)


# Chosen among 60 variants: well recognised by an independent recogniser, and unlike each other.
ESPEAK_VOICES = (
    espeak_voice("f2", 50),
    espeak_voice("f5", 60, 155),
    espeak_voice("f2", 42, 165, language="en-gb-x-rp"),
    espeak_voice("caleb", 45),
    espeak_voice("", 50, 155),
    espeak_voice("m1", 40, 165),
    espeak_voice("m6", 55, language="en-gb-x-rp"),
    espeak_voice("adam", 50),
    espeak_voice("klatt4", 45, 165),
    espeak_voice("Reed", 60),
    espeak_voice("edward", 62, 165),
    espeak_voice("Hugo", 50, 165),
    espeak_voice("grandpa", 45, 155),
    espeak_voice("f1", 50, 155, role=HELD_OUT),
    espeak_voice("klatt2", 60, role=HELD_OUT),
)
FLITE_VOICES = (
    WorldVoice(name="flite-slt", engine="flite", voice="slt", stretch=0.95),
    WorldVoice(name="flite-rms", engine="flite", voice="rms", stretch=0.85),
    WorldVoice(name="flite-kal16", engine="flite", voice="kal16", stretch=1.05),
    WorldVoice(name="flite-awb", engine="flite", voice="awb", stretch=0.95, role=HELD_OUT),
)


def choose_voices(engines: str = "auto", num_seen: int = 0, answer: str = "") -> list[WorldVoice]:
    """The voices to use.

    Args:
        engines: "espeak", or "auto" for flite's voices besides where its library is installed.
        num_seen: number of voices in training, the answer voice among them; 0 for all there are.
        answer: name of the answer voice; "" for flite's slt, else the first of espeak-ng.

    Returns:
        Voices of which exactly one has the role "answer".

    Raises:
        UserError: ``answer`` is not a training voice.
    """
    has_flite = engines == "auto" and flite.is_available()
    # flite's clearest two stand first, so that few voices are still of two engines
    voices = [*FLITE_VOICES[:2], *ESPEAK_VOICES, *FLITE_VOICES[2:]] if has_flite else [*ESPEAK_VOICES]
    trainable = {voice.name: voice for voice in voices if voice.role != HELD_OUT}
    chosen = answer or voices[0].name
    if chosen not in trainable:
        remedy = f"choose one of {', '.join(trainable)}"
        raise UserError("option answer_voice", found=f"found {answer!r}", remedy=remedy)
    answering = replace(trainable.pop(chosen), role=ANSWER, spread=0.0)
    others = [replace(voice, role=SEEN) for voice in trainable.values()]
    seen = [answering, *others][: num_seen or len(voices)]
    return [*seen, *(voice for voice in voices if voice.role == HELD_OUT)]
