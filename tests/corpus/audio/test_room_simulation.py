"""A room adds silence, noise and distance within its limits, the same to the same utterance, and never to a reply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from corpus.audio.files import SAMPLE_RATE, Samples, read_audio
from corpus.audio.room_simulation import RoomConfig, record_in_room
from corpus.build import STAGE
from corpus.world.synthesis import Prompt, render, synthesise
from corpus.world.voices import ANSWER, ESPEAK_VOICES, choose_voices
from runtime.errors import UserError
from runtime.progress import Progress

SPEECH = (np.sin(np.arange(16_000) / 9) * np.hanning(16_000)).astype(np.float32)
ALWAYS = RoomConfig(share=1.0, max_lead=0.4, max_tail=0.2, min_snr=10, max_snr=30, max_attenuation=12)


def where(recorded: Samples) -> tuple[int, float]:
    """The sample where `SPEECH` begins in a recording, and its gain: the best match."""
    match = correlate(recorded.astype(np.float64), SPEECH.astype(np.float64), mode="valid", method="fft")
    lead = int(np.argmax(match))
    return lead, float(match[lead] / np.sum(SPEECH.astype(np.float64) ** 2))


def test_draws_stay_within_their_limits_and_reach_them() -> None:
    found = []
    for number in range(300):
        recorded = record_in_room(SPEECH, f"u{number}", ALWAYS, seed=1)
        lead, gain = where(recorded)
        noise = recorded / gain
        noise[lead : lead + len(SPEECH)] -= SPEECH
        snr = 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise**2))
        found.append(
            (lead / SAMPLE_RATE, (len(recorded) - len(SPEECH) - lead) / SAMPLE_RATE, snr, -20 * np.log10(gain))
        )
    limits = ((0.0, 0.4), (0.0, 0.2), (10.0, 30.0), (0.0, 12.0))
    for values, (low, high) in zip(zip(*found, strict=True), limits, strict=True):
        margin = 0.05 * (high - low)
        assert low - margin <= min(values) <= low + 2 * margin
        assert high - 2 * margin <= max(values) <= high + margin


def test_the_share_is_kept_and_the_others_are_as_the_synthesiser_made_them() -> None:
    half = RoomConfig(share=0.5)
    same = [record_in_room(SPEECH, f"u{number}", half, seed=1) is SPEECH for number in range(400)]
    assert 160 <= sum(same) <= 240
    assert record_in_room(SPEECH, "u", RoomConfig(share=0), seed=1) is SPEECH


def test_utterance_and_seed_decide() -> None:
    first = record_in_room(SPEECH, "u1", ALWAYS, seed=1)
    np.testing.assert_array_equal(first, record_in_room(SPEECH, "u1", ALWAYS, seed=1))
    assert len(first) != len(record_in_room(SPEECH, "u2", ALWAYS, seed=1))
    assert len(first) != len(record_in_room(SPEECH, "u1", ALWAYS, seed=2))


def test_the_answer_voice_is_never_in_a_room(tmp_path: Path) -> None:
    voices = choose_voices("espeak", 3, ESPEAK_VOICES[0].name)
    prompts = [Prompt(voice.name, "what is the sky", voice, tmp_path / f"{voice.name}.flac") for voice in voices]
    with Progress(tmp_path, len(prompts), "speech") as bar:
        synthesise(prompts, tmp_path / "units", room=ALWAYS, seed=1, workers=1, bar=bar)
    changed = {prompt.voice.role: len(read_audio(prompt.path)) != len(render(prompt, 1)) for prompt in prompts}
    assert changed.pop(ANSWER) is False
    assert changed and all(changed.values())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("share", 1.5),
        ("max_lead", -1.0),
        ("max_snr", 10.0),
        ("max_attenuation", -3.0),
        ("kinds", ["babble"]),
        ("kinds", []),
    ],
)
def test_options_out_of_range(option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"option room.{option}: found"):
        STAGE.compose(["out=corpus", f"room.{option}={value}"])
    with pytest.raises(UserError, match=option):
        RoomConfig(**{option: value})  # type: ignore[arg-type]
