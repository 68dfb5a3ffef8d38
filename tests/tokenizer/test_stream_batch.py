"""Streams as rows of a batch: a talker has the tokens, to the bit, that it has alone, whatever the others do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.mel import LogMel, LogMelStream
from corpus.audio.mel_config import LogMelConfig
from runtime.errors import UserError
from runtime.streaming import Feed, feed_rows, finish_rows, step_apart, step_rows
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.streaming import FrameChunk, TokenStream

MakeTokenizer = Callable[..., SpeechTokenizer]
FAST: dict[str, Any] = {"chunk": 8, "left_context": 16, "width": 64}
WHISPER: dict[str, Any] = {"backbone": "whisper", "width": 64, "feed_forward": 2, "upsampling": 1, "chunk": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "fastconformer": FAST,
    "fastconformer-deep": FAST | {"front_layers": 4, "left_context": 64},
    "fastconformer-25hz": FAST | {"frame_rate": 25.0, "chunk": 16},
    "fastconformer-fsq": FAST | {"vq": QuantiserConfig(kind="fsq", codebook_size=64)},
    "whisper": WHISPER | {"positions": 120},  # windows of 30 tokens: the last block of one is shorter
    "whisper-released": WHISPER | {"positions": 128, "released_rules": True, "chunk": 16},
}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the tokenizer's batches."""
    sizes: list[int] = []
    step = TokenStream.step

    def counted(streams: Sequence[TokenStream], chunks: Sequence[FrameChunk]) -> list[np.ndarray]:
        sizes.append(len(streams))
        return list(step(streams, chunks))

    monkeypatch.setattr(TokenStream, "step", staticmethod(counted))
    return sizes


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[torch.Tensor]]:
    """The encoder's vectors (T, D) of each stream, by its id: tokens may be equal where these are not."""
    found: dict[int, list[torch.Tensor]] = {}
    step = TokenStream.step

    def kept(streams: Sequence[TokenStream], chunks: Sequence[FrameChunk]) -> list[np.ndarray]:
        quantiser = streams[0].quantiser
        codes = quantiser.codes

        def seen(hidden_NTD: torch.Tensor) -> torch.Tensor:
            for stream, hidden_TD in zip(streams, hidden_NTD, strict=True):
                found.setdefault(id(stream), []).append(hidden_TD.clone())
            return codes(hidden_NTD)

        with monkeypatch.context() as patch:
            patch.setattr(quantiser, "codes", seen)
            return list(step(streams, chunks))

    monkeypatch.setattr(TokenStream, "step", staticmethod(kept))
    return found


def talk(seed: int) -> list[np.ndarray]:
    """A turn of 0 to 12 s in pieces of 0 to 1.5 s."""
    random = np.random.default_rng(seed)
    lengths = random.choice([0, 1, 320, 1600, 5000, 10_240, 10_360, 24_000], int(random.integers(1, 24)))
    return [random.normal(0, 0.1, length).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_talker_in_a_batch_has_the_tokens_that_they_have_alone(
    make_tokenizer: MakeTokenizer,
    batches: list[int],
    vectors: dict[int, list[torch.Tensor]],
    variant: str,
    seed: int,
) -> None:
    """Talkers join at random, are fed or rest at random, and leave when they have said all."""
    options = dict(VARIANTS[variant])
    tokenizer, random, count = make_tokenizer(options.pop("vq", None), **options), np.random.default_rng(seed), 10
    given = [talk(100 * seed + number) for number in range(count)]
    expected, expected_vectors = [], []
    for pieces in given:
        stream = tokenizer.open_stream()
        expected.append([*(stream.feed(piece) for piece in pieces), stream.finish()])
        expected_vectors.append(vectors.pop(id(stream), []))
    batches.clear()
    waiting, left = list(range(count)), [list(pieces) for pieces in given]
    streams: dict[int, TokenStream] = {}
    made: list[list[np.ndarray]] = [[] for _ in range(count)]
    made_vectors: dict[int, list[torch.Tensor]] = {}
    while waiting or streams:
        while waiting and len(streams) < 6 and random.random() < 0.7:
            number = waiting.pop(0)
            streams[number] = tokenizer.open_stream()
        fed = [left[number].pop(0) if left[number] and random.random() < 0.8 else None for number in streams]
        for number, piece, tokens in zip(streams, fed, feed_rows(list(streams.values()), fed), strict=True):
            if piece is None:
                assert not len(tokens)
            else:
                made[number].append(tokens)
        over = [number for number in streams if not left[number]]
        for number, tokens in zip(over, finish_rows([streams[number] for number in over]), strict=True):
            made[number].append(tokens)
            made_vectors[number] = vectors.pop(id(streams.pop(number)), [])
    for number in range(count):
        for one, other in zip(made[number], expected[number], strict=True):
            assert one.dtype == np.uint16 and np.array_equal(one, other), number
        for mine, alone in zip(made_vectors[number], expected_vectors[number], strict=True):
            assert torch.equal(mine, alone), number
        whole = np.concatenate(given[number])
        assert sum(map(len, made[number])) == tokenizer.time.num_tokens(len(whole))
    assert max(batches) >= 3  # they did run together


def test_talkers_at_any_place_run_as_one_batch(make_tokenizer: MakeTokenizer, batches: list[int]) -> None:
    """Also in windows of Whisper that began at other times."""
    chunk = np.random.default_rng(0).normal(0, 0.1, 8 * 1280).astype(np.float32)
    for options in (FAST, WHISPER | {"positions": 128}):
        tokenizer = make_tokenizer(**options)
        streams = [tokenizer.open_stream() for _ in range(4)]
        for number, stream in enumerate(streams):
            for _ in range(2 + 3 * number):
                stream.feed(chunk)
        batches.clear()
        assert [len(tokens) for tokens in feed_rows(streams, [chunk] * 4)] == [8] * 4
        assert batches == [4]


def test_memory_of_a_row_is_its_own(make_tokenizer: MakeTokenizer) -> None:
    """No state is a view of the batch that it was computed in, or of the audio that was fed."""
    audio = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    for options in (FAST, WHISPER):
        tokenizer = make_tokenizer(**options)
        streams = [tokenizer.open_stream() for _ in range(3)]
        for _ in range(3):
            feed_rows(streams, [audio] * 3)
        for stream in streams:
            keys = getattr(stream.cache, "keys", [])
            tensors = [part for part in stream.cache if isinstance(part, torch.Tensor)]
            for part in [*tensors, *(half for pair in keys for half in pair)]:
                assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
            for held in [stream.waiting, *stream.mel.held]:
                assert (held if held.base is None else held.base).nbytes < 100_000


def test_a_stream_that_is_reset_begins_anew(make_tokenizer: MakeTokenizer) -> None:
    tokenizer, audio = make_tokenizer(**FAST), np.concatenate(talk(5))
    stream = tokenizer.open_stream()
    stream.feed(audio[:7777])
    stream.reset()
    assert np.array_equal(np.concatenate([stream.feed(audio), stream.finish()]), tokenizer.encode([audio])[0])


def test_wrong_audio_advances_no_stream(make_tokenizer: MakeTokenizer) -> None:
    tokenizer, audio = make_tokenizer(**FAST), np.concatenate(talk(6))
    streams = [tokenizer.open_stream(), tokenizer.open_stream()]
    with pytest.raises(UserError, match="NaN"):
        feed_rows(streams, [audio, np.full(100, np.nan, np.float32)])
    for stream in streams:
        assert np.array_equal(np.concatenate([stream.feed(audio), stream.finish()]), tokenizer.encode([audio])[0])


@pytest.mark.parametrize("options", [FAST, WHISPER], ids=["fastconformer", "whisper"])
def test_a_row_that_cannot_be_computed_takes_no_other_one_along(
    make_tokenizer: MakeTokenizer, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """The batch fails in the middle of its step, when the mel streams have already gone on."""
    tokenizer = make_tokenizer(**options)
    audios = [np.random.default_rng(seed).normal(0, 0.1, 30_000).astype(np.float32) for seed in range(3)]
    streams = [tokenizer.open_stream() for _ in range(3)]
    step, broken = tokenizer.front.step, streams[1].cache

    def fail_for_one(mel_NMF: torch.Tensor, caches: Sequence[Any], padding: Sequence[int]) -> Any:
        if any(cache is broken for cache in caches):
            raise RuntimeError("out of memory")
        return step(mel_NMF, caches, padding)

    monkeypatch.setattr(tokenizer.front, "step", fail_for_one)
    feeds = [Feed(stream, audio, is_last=False) for stream, audio in zip(streams, audios, strict=True)]
    errors = step_apart(feeds)
    assert [str(error) for error in errors if error] == ["out of memory"] and errors[1] is not None
    while feeds[0].block is not None:
        assert step_apart([feeds[0], feeds[2]]) == [None, None]
    for row in (0, 2):
        made = np.concatenate([feeds[row].result(), streams[row].finish()])
        assert np.array_equal(made, tokenizer.encode([audios[row]])[0])


@pytest.mark.parametrize(
    "config",
    [LogMelConfig(), LogMelConfig(piece=16_000), LogMelConfig(win=400, n_fft=400, before=200, power=2.0)],
    ids=str,
)
def test_the_log_mel_alone_in_rows(config: LogMelConfig) -> None:
    log_mel, random = LogMel(config), np.random.default_rng(0)
    streams, alone = [log_mel.streaming() for _ in range(5)], [log_mel.streaming() for _ in range(5)]
    sizes: list[int] = []
    for _ in range(25):
        for one, other in zip(streams, alone, strict=True):
            samples = random.normal(0, 0.1, int(random.integers(0, 6000))).astype(np.float32)
            one.append(samples)
            other.append(samples)
        ready = [16 if stream.num_frames >= 16 and random.random() < 0.8 else None for stream in streams]
        sizes.append(sum(frames is not None for frames in ready))
        for row, frames_MF in step_rows(streams, ready).items():
            assert torch.equal(frames_MF, LogMelStream.step([alone[row]], [16])[0])
    assert max(sizes) > 2
