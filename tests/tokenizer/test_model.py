"""Laws of the tokenizer: the rule of time, streaming == offline, padding changes nothing, saved == loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import UserError
from tokenizer.model import SpeechTokenizer

Say = Callable[[str], np.ndarray]
LENGTHS = [1, 159, 160, 1279, 1280, 1281, 2560, 5119, 5120, 5121, 16000, 40000, 53760]


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_one_token_every_1280_samples(tokenizer: SpeechTokenizer, num_samples: int) -> None:
    (tokens,) = tokenizer.encode([noise(num_samples)])
    assert tokens.dtype == np.uint16 and len(tokens) == -(-num_samples // 1280)
    assert tokens.max() < tokenizer.codebook_size


def test_no_samples_are_no_tokens_and_no_text(tokenizer: SpeechTokenizer) -> None:
    assert [len(tokens) for tokens in tokenizer.encode([noise(0), noise(100)])] == [0, 1]
    assert tokenizer.transcribe([noise(0)]) == tokenizer.transcribe([noise(0)], quantise=False) == [""]
    assert tokenizer.encode([]) == [] and tokenizer.read_tokens([np.zeros(0, dtype=np.uint16)]) == [""]


def test_batch_composition_changes_no_token(tokenizer: SpeechTokenizer, say: Say) -> None:
    audios = [noise(length, seed) for seed, length in enumerate(LENGTHS)] + [say("red cat one")]
    together = tokenizer.encode(audios)
    alone = [tokenizer.encode([audio])[0] for audio in audios]
    backwards = tokenizer.encode(audios[::-1])[::-1]
    for one, other, third in zip(together, alone, backwards, strict=True):
        assert np.array_equal(one, other) and np.array_equal(one, third)


def test_batch_composition_changes_no_vector(tokenizer: SpeechTokenizer) -> None:
    audios = [noise(length, seed) for seed, length in enumerate(LENGTHS)]
    with tokenizer.inference():
        together, lengths = tokenizer.hidden(audios)
        for row, audio in enumerate(audios):
            alone, _ = tokenizer.hidden([audio])
            assert torch.allclose(together[row, : lengths[row]], alone[0], atol=1e-5)


def test_silence_at_the_end_changes_no_token_of_finished_chunks(tokenizer: SpeechTokenizer) -> None:
    audio = noise(8 * 4 * 1280)
    (tokens,) = tokenizer.encode([audio])
    (longer,) = tokenizer.encode([np.concatenate([audio, np.zeros(9000, dtype=np.float32)])])
    assert np.array_equal(tokens[:-1], longer[: len(tokens) - 1])


@settings(max_examples=25, deadline=None)
@given(
    num_samples=st.integers(0, 90_000),
    cuts=st.lists(st.integers(0, 90_000), max_size=12),
    seed=st.integers(0, 3),
)
def test_streamed_equals_offline(tokenizer: SpeechTokenizer, num_samples: int, cuts: list[int], seed: int) -> None:
    audio = noise(num_samples, seed)
    places = sorted(cut for cut in cuts if cut < num_samples)
    with tokenizer.streaming() as stream:
        pieces = [stream.feed(piece) for piece in np.split(audio, places)]
        streamed = np.concatenate([*pieces, stream.finish()])
    assert np.array_equal(streamed, tokenizer.encode([audio])[0])


def test_a_stream_gives_tokens_as_soon_as_a_chunk_is_heard(tokenizer: SpeechTokenizer) -> None:
    chunk = tokenizer.config.chunk * 1280
    with tokenizer.streaming() as stream:
        assert len(stream.feed(noise(chunk + 119))) == 0
        assert len(stream.feed(noise(1))) == tokenizer.config.chunk
        assert len(stream.finish()) == 1
        assert len(stream.feed(noise(chunk + 120))) == tokenizer.config.chunk  # finish() starts afresh


def test_long_audio_is_streamed_to_the_same_tokens(tokenizer: SpeechTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = noise(12 * 16000 + 777)
    (tokens,) = tokenizer.encode([audio])
    monkeypatch.setattr("tokenizer.model.LONGEST_BATCHED", 4)
    first, second = tokenizer.encode([audio, audio[:3000]])
    assert np.array_equal(first, tokens) and len(second) == 3


def test_saved_and_loaded_is_the_same(tokenizer: SpeechTokenizer, say: Say, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "artefact", {"wer_with_vq": 0.5, "name": "x"})
    loaded = SpeechTokenizer.from_pretrained(tmp_path / "artefact")
    audios = [noise(30_000), say("blue dog")]
    assert loaded.fingerprint == tokenizer.fingerprint
    assert all(np.array_equal(*pair) for pair in zip(loaded.encode(audios), tokenizer.encode(audios), strict=True))
    for quantise in (True, False):
        assert loaded.transcribe(audios, quantise=quantise) == tokenizer.transcribe(audios, quantise=quantise)
    names = {file.name for file in (tmp_path / "artefact").iterdir()}
    assert names == {"config.yaml", "model.safetensors", "labels.json", "metrics.json", "README.md"}
    card = (tmp_path / "artefact/README.md").read_text()
    assert tokenizer.fingerprint in card and "| wer_with_vq | 0.5 |" in card


def test_the_fingerprint_is_of_what_decides_the_tokens(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "artefact")
    other = SpeechTokenizer.from_pretrained(tmp_path / "artefact")
    with torch.no_grad():
        other.head.weight += 1
    assert other.fingerprint == tokenizer.fingerprint
    with torch.no_grad():
        other.quantiser.codebook[3, 5] += 1e-3
    assert other.fingerprint != tokenizer.fingerprint


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "labels.json"])
def test_a_broken_artefact_is_named(tokenizer: SpeechTokenizer, tmp_path: Path, name: str) -> None:
    for damage in ("missing", "torn"):
        tokenizer.save_pretrained(tmp_path / damage)
        file = tmp_path / damage / name
        file.unlink() if damage == "missing" else file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(UserError):
            SpeechTokenizer.from_pretrained(tmp_path / damage)


def test_mixed_up_files_are_found(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "artefact")
    config = tmp_path / "artefact/config.yaml"
    config.write_text(re.sub("mean: .*", "mean: 1.25", config.read_text()))
    with pytest.raises(UserError, match="different tokenizers"):
        SpeechTokenizer.from_pretrained(tmp_path / "artefact")


def test_bad_audio_and_tokens_are_named(tokenizer: SpeechTokenizer) -> None:
    broken = noise(4000)
    broken[17] = np.nan
    with pytest.raises(UserError, match=r"audio 1.*NaN"):
        tokenizer.encode([noise(100), broken])
    with pytest.raises(UserError, match="shape"):
        tokenizer.encode([noise(100).reshape(2, 50)])
    with pytest.raises(UserError, match="codebook has 64"):
        tokenizer.read_tokens([np.array([64], dtype=np.uint16)])


def test_encoding_leaves_the_mode_as_it_was(tokenizer: SpeechTokenizer) -> None:
    tokenizer.train()
    tokens = tokenizer.encode([noise(9000)])[0]
    assert tokenizer.training
    tokenizer.eval()
    assert np.array_equal(tokens, tokenizer.encode([noise(9000)])[0])
