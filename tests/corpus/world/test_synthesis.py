from pathlib import Path

import numpy as np
import pytest

from corpus.world import espeak, flite
from corpus.world.closed_world import World
from corpus.world.held_out import HeldOutTexts
from corpus.world.plan import KINDS, TRAIN, CorpusPlan, PlanSizes
from corpus.world.synthesis import PEAK, Prompt, render, trim
from corpus.world.voices import ANSWER, ESPEAK_VOICES, FLITE_VOICES, HELD_OUT, WorldVoice, choose_voices

needs_flite = pytest.mark.skipif(not flite.is_available(), reason="libflite1 is not installed")
TEXTS = ("what day comes after monday?", "tom has a red ball.", "seven minus two")


def prompts(voices: tuple[WorldVoice, ...]) -> list[Prompt]:
    return [
        Prompt(f"{voice.name}-{number}", text, voice, Path()) for voice in voices for number, text in enumerate(TEXTS)
    ]


def test_espeak_gives_the_same_bits_in_any_order() -> None:
    jobs = prompts((ESPEAK_VOICES[0], ESPEAK_VOICES[8], ESPEAK_VOICES[9]))
    forth = [render(job, 1) for job in jobs]
    back = [render(job, 1) for job in reversed(jobs)][::-1]
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_flite
def test_flite_gives_the_same_bits_in_any_order() -> None:
    jobs = prompts(FLITE_VOICES)
    forth = [render(job, 1) for job in jobs]
    back = [render(job, 1) for job in reversed(jobs)][::-1]
    for one, other in zip(forth, back, strict=True):
        np.testing.assert_array_equal(one, other)


def test_seed_and_id_vary_the_delivery() -> None:
    job = Prompt("a", TEXTS[0], ESPEAK_VOICES[1], Path())
    other = Prompt("b", TEXTS[0], ESPEAK_VOICES[1], Path())
    assert len({len(render(job, 1)), len(render(job, 2)), len(render(other, 1))}) > 1


def test_the_audio_is_tight_loud_and_never_digitally_silent() -> None:
    for job in prompts((ESPEAK_VOICES[0], ESPEAK_VOICES[4])):
        audio = render(job, 1)
        assert audio.dtype == np.float32
        assert abs(float(np.abs(audio).max()) - PEAK) < 1e-3
        loud = np.flatnonzero(np.abs(audio) > 0.02)
        assert loud[0] < 0.15 * 16000 and len(audio) - loud[-1] < 0.25 * 16000
        frames = audio[: len(audio) // 160 * 160].reshape(-1, 160)
        assert np.abs(frames).max(axis=1).min() > 0


def test_trim_keeps_60_ms_and_survives_silence() -> None:
    tone = np.sin(np.arange(1600, dtype=np.float32))
    padded = np.concatenate([np.zeros(8000, np.float32), tone, np.zeros(8000, np.float32)])
    assert len(trim(padded)) == 1600 + 2 * 960
    assert len(trim(np.zeros(800, np.float32))) == 800
    assert len(trim(np.zeros(3, np.float32))) == 3


@pytest.mark.parametrize("engines", ["auto", "espeak"])
def test_there_are_many_voices_one_answers_some_are_held_out(engines: str) -> None:
    voices = choose_voices(engines)
    assert len(voices) >= 12
    assert len({voice.name for voice in voices}) == len(voices)
    assert sum(voice.role == ANSWER for voice in voices) == 1
    assert sum(voice.role == HELD_OUT for voice in voices) >= 2


@pytest.mark.parametrize("num_seen", [1, 3])
def test_fewer_voices_can_be_seen(num_seen: int, tmp_path: Path) -> None:
    voices = choose_voices("espeak", num_seen)
    assert sum(voice.role != HELD_OUT for voice in voices) == num_seen
    world = World(1, 4)
    counts = dict.fromkeys(KINDS, 8)
    sizes = PlanSizes(train=counts, answer=counts, held_out=counts, held_out_words=4)
    lines = CorpusPlan(world, HeldOutTexts(world, 0.1, 1), voices, 1, tmp_path).utterances(sizes)
    assert len({line.prompt.voice.name for line in lines if line.split == TRAIN}) == num_seen
    assert len({line.prompt.id for line in lines}) == len(lines)


def test_unknown_voices_are_refused() -> None:
    with pytest.raises(ValueError, match="no voice 'xx-none'"):
        espeak.speak("a", "xx-none")
    with pytest.raises(RuntimeError, match="libflite1"):
        flite.speak("a", "none")
