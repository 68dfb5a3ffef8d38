"""Audio formats of the protocol."""

from __future__ import annotations

import numpy as np
import pytest

from chatbot.realtime.formats import FORMATS, alaw_table, mulaw_table


def test_g711_has_the_values_of_its_tables() -> None:
    mu, a = mulaw_table().tolist(), alaw_table().tolist()
    assert [mu[code] for code in (0x00, 0x80, 0xFF, 0x7F, 0x8F, 0xF0)] == [-32124, 32124, 0, 0, 16764, 120]
    assert [a[code] for code in (0x2A, 0xAA, 0x55, 0xD5, 0x80, 0x00)] == [-32256, 32256, -8, 8, 5504, -5504]


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephone_bytes_survive_the_round_trip(kind: str) -> None:
    wire = FORMATS[kind]
    every = bytes(range(256))
    heard = wire.decode(every)
    np.testing.assert_array_equal(wire.decode(wire.encode(heard)), heard)
    loud = wire.decode(wire.encode(np.array([2.0, -2.0, 0.25], np.float32)))
    assert loud[0] == heard.max() and loud[1] == heard.min() and abs(loud[2] - 0.25) < 0.25 / 32
