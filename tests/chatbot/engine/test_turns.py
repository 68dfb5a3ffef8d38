"""Laws of cutting the user's speech into turns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.engine.turns import TAIL_MS, HeardTurn, Sound, TurnListener
from chatbot.engine.vad import SpeechStarted, SpeechStopped, TurnOptions
from chatbot.realtime.user_turn import UserTurn
from corpus.audio.files import Samples

RATE = 16000


def stream(*parts: tuple[float, float]) -> Samples:
    """Parts of (seconds, loudness) noise."""
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(int(seconds * RATE)) * level for seconds, level in parts]
    return np.concatenate(pieces).astype(np.float32)


TALK = stream((1.0, 1e-4), (0.8, 0.1), (1.2, 1e-4), (0.6, 0.1), (1.5, 1e-4))


def turns(sounds: list[Sound]) -> list[tuple[int, Samples, int]]:
    """(begin, samples, end) of each turn; nothing is heard between turns."""
    found: list[tuple[int, Samples, int]] = []
    begin, pieces = None, []
    for sound in sounds:
        if isinstance(sound, SpeechStarted):
            assert begin is None
            begin, pieces = sound.at_ms, []
        elif isinstance(sound, HeardTurn):
            assert begin is not None
            pieces.append(sound.samples)
        else:
            assert begin is not None
            found.append((begin, np.concatenate(pieces), sound.at_ms))
            begin = None
    return found


def test_turns_are_the_speech_with_its_padding_and_without_its_silence() -> None:
    found = turns(TurnListener(TurnOptions(), 30.0).feed(TALK))
    assert len(found) == 2
    for (begin, samples, end), (spoken, silent) in zip(found, ((1000, 1800), (3000, 3600)), strict=True):
        assert spoken - 320 <= begin <= spoken - 280
        assert silent + TAIL_MS - 20 <= end <= silent + TAIL_MS + 20
        np.testing.assert_array_equal(samples, TALK[begin * 16 : begin * 16 + len(samples)])
        assert abs(len(samples) - (end - begin) * 16) < 16


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(TALK)), max_size=12), st.sampled_from([100, 500]))
def test_pieces_give_the_turns_of_the_whole(cuts: list[int], silence: int) -> None:
    detection = TurnOptions(silence_ms=silence)
    whole, listener = turns(TurnListener(detection, 30.0).feed(TALK)), TurnListener(detection, 30.0)
    pieces = turns([sound for piece in np.split(TALK, sorted(cuts)) for sound in listener.feed(piece)])
    assert [(begin, end) for begin, _, end in pieces] == [(begin, end) for begin, _, end in whole]
    for (_, piece, _), (_, one, _) in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(piece, one)


def test_a_turn_that_does_not_end_is_ended() -> None:
    noise = stream((0.5, 1e-4), (5.0, 0.1))  # which is the room's own noise from then on
    ((begin, samples, end),) = turns(TurnListener(TurnOptions(), 2.0).feed(noise))
    assert begin <= 200 and len(samples) == 2.0 * RATE and end == begin + 2000


def test_without_detection_everything_is_the_turn() -> None:
    listener = TurnListener(None, 30.0)
    (heard,) = listener.feed(TALK)
    assert isinstance(heard, HeardTurn) and heard.samples is TALK
    assert listener.flush() == [] and listener.position == len(TALK)


def test_a_turn_can_be_ended_before_its_silence() -> None:
    listener = TurnListener(TurnOptions(), 30.0)
    sounds = listener.feed(TALK[: int(1.6 * RATE)])
    sounds += listener.flush()
    assert isinstance(sounds[0], SpeechStarted)
    heard = np.concatenate([sound.samples for sound in sounds if isinstance(sound, HeardTurn)])
    np.testing.assert_array_equal(heard, TALK[sounds[0].at_ms * 16 : int(1.6 * RATE)])
    again = listener.feed(TALK[int(1.6 * RATE) :])
    assert [type(sound) for sound in again if not isinstance(sound, HeardTurn)][-2:] == [SpeechStarted, SpeechStopped]
    assert isinstance(again[-1], SpeechStopped) and again[-1].at_ms == pytest.approx(3600 + TAIL_MS, abs=30)


def test_what_is_beyond_a_turn_s_length_is_not_kept() -> None:
    turn = UserTurn(max_seconds=1.0)
    for _ in range(30):
        turn.add(np.zeros(RATE // 10, np.float32))
    assert turn.seconds == 3.0 and len(turn.samples()) == RATE
