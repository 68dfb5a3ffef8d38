from __future__ import annotations

import numpy as np
import pytest

from evaluation.served_chat.exchange import leading_silence, spoken_question, trailing_silence
from runtime.errors import UserError


def test_silence_around_speech_is_found() -> None:
    speech = np.concatenate([np.zeros(240, np.int16), np.full(480, 9000, np.int16), np.full(120, 3, np.int16)])
    assert (leading_silence(speech), trailing_silence(speech)) == (240, 120)
    assert (leading_silence(speech[:240]), trailing_silence(speech[:240])) == (0, 0)
    assert len(spoken_question(np.zeros(1600, np.float32), 16000)) == 2400
    with pytest.raises(UserError, match="no samples"):
        spoken_question(np.zeros(0, np.float32), 16000)
