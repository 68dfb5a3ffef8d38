"""Laws of sound on the wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.engine.pcm import Resampler, decode_base64, decode_pcm16, encode_base64, encode_pcm16
from corpus.audio.files import resample
from runtime.errors import UserError


def test_every_16_bit_value_survives_the_round_trip() -> None:
    data = np.arange(-32768, 32768, dtype="<i2").tobytes()
    samples = decode_pcm16(data)
    assert samples.min() == -1.0 and samples.max() < 1.0
    assert encode_pcm16(samples) == data
    assert decode_base64(encode_base64(data)) == data


def test_beyond_full_scale_is_clipped_not_wrapped() -> None:
    assert decode_pcm16(encode_pcm16(np.array([1.5, -1.5], np.float32))).tolist() == [32767 / 32768, -1.0]


@settings(max_examples=20, deadline=None)
@given(
    rates=st.sampled_from([(24000, 16000), (22050, 24000), (8000, 16000), (16000, 24000), (16000, 16000)]),
    cuts=st.lists(st.integers(0, 12000), max_size=8),
    length=st.integers(1, 12000),
)
def test_pieces_resampled_are_the_whole_resampled(rates: tuple[int, int], cuts: list[int], length: int) -> None:
    audio = np.random.default_rng(length).standard_normal(length).astype(np.float32) * np.float32(0.1)
    resampler = Resampler(*rates)
    pieces = [resampler.feed(piece) for piece in np.split(audio, sorted(min(cut, length) for cut in cuts))]
    np.testing.assert_array_equal(np.concatenate([*pieces, resampler.finish()]), resample(audio, *rates))
    again = np.concatenate([resampler.feed(audio), resampler.finish()])
    np.testing.assert_array_equal(again, resample(audio, *rates), err_msg="a finished resampler begins anew")


@pytest.mark.parametrize(("text", "found"), [("!!!!", "base64"), ("abcde", "base64"), ("é===", "base64")])
def test_what_is_no_base64_is_refused(text: str, found: str) -> None:
    with pytest.raises(UserError, match=found):
        decode_base64(text, "audio")


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_base64_may_be_wrapped_and_unpadded(data: bytes) -> None:
    text = encode_base64(data)
    assert decode_base64(text.rstrip("=")) == decode_base64("\r\n".join(text)) == data
    assert decode_base64(f"data:audio/wav;base64,{text}") == data


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(UserError, match="3 bytes, an odd number"):
        decode_pcm16(b"abc")
