"""Streamed equals offline, whatever is fed in which pieces; nothing grows; no seam; and what wrong use says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from corpus.audio.mel_config import LogMelConfig
from decoder.config import BackboneConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.stream import DecoderStream
from decoder.vocoder import MelPiece, Vocoder, VocoderStream
from runtime.errors import UserError

CODES = 16
TINY = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)
MakeDecoder = Callable[..., SpeechDecoder]
MUSIC = LogMelConfig(sample_rate=22050, n_fft=1024, win=1024, hop=256)  # 6.890625 frames a token


def some_tokens(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, length).astype(np.uint16)


def pieces(tokens: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """Pieces of these lengths, over and over."""
    start, turn = 0, 0
    while start < len(tokens):
        yield tokens[start : start + lengths[turn % len(lengths)]]
        start += lengths[turn % len(lengths)]
        turn += 1


def streamed(decoder: SpeechDecoder, tokens: np.ndarray, lengths: list[int], **options: Any) -> list[np.ndarray]:
    with decoder.streaming("bert", **options) as stream:
        return [*(stream.feed(piece) for piece in pieces(tokens, lengths)), stream.finish()]


def recorded_mel(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Collects the mel that reaches the vocoder's streams."""
    mels: list[Tensor] = []
    step = VocoderStream.step

    def keep(streams: Sequence[VocoderStream], pieces: Sequence[MelPiece]) -> list[Tensor]:
        mels.extend(piece.mel for piece in pieces)
        return step(streams, pieces)

    monkeypatch.setattr(VocoderStream, "step", staticmethod(keep))
    return mels


def residual(made: np.ndarray, true: np.ndarray) -> float:
    """Energy of the difference over that of ``true``, in dB."""
    return 10 * float(np.log10(np.square(made - true).sum() / np.square(true).sum() + 1e-30))


OPTIONS = [{}, {"guidance": 0.7, "steps": 2}, {"solver": "midpoint", "steps": 2}, {"steps": 0}]
SPLITS = [[10], [20], [50], [1], [7, 1, 1, 23, 2], [60]]  # in tokens: 1, 2 and 5 blocks of 0.8 s, and random ones


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"guidance": 0.7, "steps": 2}, {"solver": "midpoint", "steps": 2}, {"steps": 0}]
)
def test_streamed_is_offline(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch, split: list[int], options: dict[str, Any]
) -> None:
    decoder = make_decoder(block_tokens=10)
    tokens = some_tokens(57)
    mels = recorded_mel(monkeypatch)
    made = np.concatenate(streamed(decoder, tokens, split, **options))
    batch = decoder.batch([tokens], ["bert"])
    torch.testing.assert_close(
        torch.cat(mels, dim=2).transpose(1, 2), decoder.mel(*batch, **options), rtol=0.0, atol=1e-4
    )
    whole = decoder.decode(tokens, "bert", **options)
    assert made.shape == whole.shape and made.dtype == np.float32
    assert residual(made, whole) <= -50


@pytest.mark.parametrize("block", [10, 20, 50])
@pytest.mark.parametrize("lookahead", [0, 2])
@pytest.mark.parametrize("length", [1, 8, 57, 60])
@pytest.mark.parametrize("is_causal", [False, True])
def test_streamed_is_offline_for_every_block_and_look_ahead(
    make_decoder: MakeDecoder, block: int, lookahead: int, length: int, is_causal: bool
) -> None:
    decoder = make_decoder(block_tokens=block, lookahead_tokens=lookahead, is_causal=is_causal)
    tokens = some_tokens(length)
    whole = decoder.decode(tokens, "bert")
    for split in ([10], [3, 11, 1]):
        made = np.concatenate(streamed(decoder, tokens, split))
        assert made.shape == whole.shape
        assert residual(made, whole) <= -50


@pytest.mark.parametrize("lookahead", [0, 3])
@pytest.mark.parametrize("length", [1, 4, 27, 33])
@pytest.mark.parametrize("is_causal", [False, True])
def test_streamed_is_offline_at_a_fraction_of_frames_a_token(
    make_decoder: MakeDecoder, lookahead: int, length: int, is_causal: bool
) -> None:
    """22.05 kHz with a hop of 256: no block ends on a whole frame."""
    vocoder = Vocoder(VocoderConfig(width=32, layers=2, expansion=2, n_fft=1024), MUSIC).eval()
    decoder = make_decoder(vocoder, block_tokens=5, lookahead_tokens=lookahead, is_causal=is_causal)
    tokens = some_tokens(length)
    whole = decoder.decode(tokens, "bert")
    assert abs(len(whole) - length * 1764) <= 128
    for split in ([5], [2, 9]):
        made = np.concatenate(streamed(decoder, tokens, split))
        assert made.shape == whole.shape
        assert residual(made, whole) <= -50
    together = decoder.decode_batch([tokens, some_tokens(40)], ["bert", "anna"])
    np.testing.assert_allclose(together[0], whole, atol=1e-4)


@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_causal_decoder_has_no_seams(make_decoder: MakeDecoder, lookahead: int) -> None:
    """Where its blocks meet changes nothing at all, as long as they reach as far back."""
    tokens = some_tokens(57)
    shapes = ({"block_tokens": 5, "past_blocks": 4}, {"block_tokens": 10, "past_blocks": 2})
    decoders = [make_decoder(lookahead_tokens=lookahead, is_causal=True, **shape) for shape in shapes]
    decoders[1].load_state_dict(decoders[0].state_dict())
    one, other = (decoder.decode(tokens, "bert") for decoder in decoders)
    np.testing.assert_allclose(one, other, atol=1e-5)
    by_blocks = [make_decoder(lookahead_tokens=lookahead, **shape) for shape in shapes]
    by_blocks[1].load_state_dict(by_blocks[0].state_dict())
    one, other = (decoder.decode(tokens, "bert") for decoder in by_blocks)
    assert residual(one, other) > -50


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("split", [[1], [80], [5, 1, 30]])
def test_the_vocoder_streams(ahead: int, split: list[int]) -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=2, lookahead=ahead)).eval()
    mel = torch.randn(1, 80, 87)
    with torch.inference_mode():
        whole = vocoder(mel)[0]
    stream, made = vocoder.streaming(), []
    for piece in pieces(np.arange(87), split):
        made.append(stream.feed(mel[:, :, piece]))
        given = int(piece[-1] + 1) * 160
        assert sum(map(len, made)) == max(0, given - vocoder.lag)
    torch.testing.assert_close(torch.cat([*made, stream.finish()]), whole, rtol=1e-4, atol=1e-5)


def test_the_first_block_sounds_after_ten_tokens(make_decoder: MakeDecoder) -> None:
    for lookahead in (0, 2):
        decoder = make_decoder(block_tokens=10, lookahead_tokens=lookahead)
        with decoder.streaming() as stream:
            assert len(stream.feed(some_tokens(9))) == 0
            assert len(stream.feed(some_tokens(1))) == 1280 * (10 - lookahead) - decoder.vocoder.lag
            assert len(stream.feed(some_tokens(10))) == 1280 * 10


def kept_numbers(stream: DecoderStream) -> int:
    """How many numbers the stream keeps between blocks."""
    caches = [stream.encoder_cache, *stream.flow_caches]
    tensors = [part for cache in caches for layer in cache.layers for part in (layer.key, layer.value, layer.tail)]
    tensors += [*(cache.blocks for cache in caches), *stream.vocoder.frames, stream.vocoder.sums]
    return sum(tensor.untyped_storage().nbytes() // 4 for tensor in [*tensors, stream.means_1FM, stream.tokens_T])


def test_what_is_kept_does_not_grow(make_decoder: MakeDecoder) -> None:
    """As many numbers, storage that views hold on to included, after 12 blocks as after any later one."""
    decoder = make_decoder(block_tokens=2, lookahead_tokens=1)
    with decoder.streaming(steps=1) as stream:
        kept = []
        for block in range(60):
            stream.feed(some_tokens(2, block))
            kept.append(kept_numbers(stream))
    assert len(set(kept[12:])) == 1


def test_streams_of_one_decoder_do_not_touch(make_decoder: MakeDecoder) -> None:
    decoder = make_decoder()
    one, other = some_tokens(9, 1), some_tokens(9, 2)
    alone = np.concatenate(streamed(decoder, one, [3]))
    with decoder.streaming("bert") as first, decoder.streaming("anna") as second:
        made = []
        for start in (0, 3, 6):
            made.append(first.feed(one[start : start + 3]))
            second.feed(other[start : start + 3])
        made.append(first.finish())
    assert np.array_equal(np.concatenate(made), alone)


def test_seams_are_like_any_other_place(make_decoder: MakeDecoder) -> None:
    """The jump of energy, and of the waveform, where two pieces meet lies within what is found inside of them."""
    decoder = make_decoder(block_tokens=10)
    made = streamed(decoder, some_tokens(200), [10])
    audio, seams = np.concatenate(made), np.cumsum([len(piece) for piece in made])[:-1]
    seams = seams[seams > 0]
    jumps = np.abs(np.diff(audio))
    assert np.median(jumps[seams - 1]) <= np.quantile(jumps, 0.75) and jumps[seams - 1].max() <= jumps.max()
    energy = np.log(np.square(audio[: len(audio) // 80 * 80].reshape(-1, 80)).mean(1) + 1e-8)
    changes, at = np.abs(np.diff(energy)), seams // 80 - 1
    inside = np.delete(changes, at)
    assert np.median(changes[at]) <= np.quantile(inside, 0.75) and changes[at].max() <= inside.max()


def test_wrong_use_is_explained(make_decoder: MakeDecoder) -> None:
    decoder = make_decoder()
    for wrong, found in ((np.array([0, CODES]), f"tokens from 0 to {CODES}"), (np.array([0.5]), "float64")):
        with pytest.raises(UserError, match=found), decoder.streaming() as stream:
            stream.feed(wrong)
    with pytest.raises(UserError, match="no tokens"), decoder.streaming() as stream:
        stream.feed(np.zeros(0, dtype=np.uint16))
        stream.finish()
    with decoder.streaming() as stream:
        stream.feed(some_tokens(4))
        stream.finish()
        with pytest.raises(UserError, match="finished twice"):
            stream.finish()
        with pytest.raises(UserError, match="after its end"):
            stream.feed(some_tokens(1))
    with pytest.raises(UserError, match="choose one of: anna, bert"):
        decoder.streaming("carl")
    with pytest.raises(UserError, match="solver"):
        decoder.streaming(solver="heun")
    with pytest.raises(UserError, match="block_tokens=0"):
        make_decoder(block_tokens=0).streaming()
    with pytest.raises(UserError, match="lookahead_tokens"):
        make_decoder(block_tokens=3, lookahead_tokens=3)
    with pytest.raises(UserError, match="token_rate"):
        make_decoder(token_rate=200.0)
    assert FlowConfig(estimator=TINY).solver == "euler"
