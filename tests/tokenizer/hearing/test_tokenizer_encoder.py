"""Laws of the encoder made of a tokenizer: padding changes nothing, streams are exact, codes are codebook vectors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from corpus.audio.files import Samples
from runtime.errors import UserError
from runtime.streaming import feed_rows, finish_rows
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder
from tokenizer.hearing.tokenizer_encoder import TokenizerEncoder
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

MakeTokenizer = Callable[..., SpeechTokenizer]
WHISPER: dict[str, Any] = {"backbone": "whisper", "upsampling": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "fastconformer": {},
    "whisper": WHISPER | {"positions": 96},  # windows of 24 tokens
    "whisper-released": WHISPER | {"positions": 128, "released_rules": True},
}
AUDIOS: list[Samples] = [
    np.random.default_rng(size).normal(0, 0.1, size).astype(np.float32) for size in (30_000, 1, 50_001, 1280, 4_000)
]


@pytest.fixture(scope="module", params=[(v, layer) for v in VARIANTS for layer in ("front", "back")], ids="-".join)
def encoder(request: pytest.FixtureRequest, make_tokenizer: MakeTokenizer) -> TokenizerEncoder:
    variant, layer = request.param
    return TokenizerEncoder(make_tokenizer(**VARIANTS[variant]), layer).eval()


def test_padding_and_batch_mates_change_no_vector(encoder: SpeechEncoder) -> None:
    frames = [encoder.mel(audio) for audio in AUDIOS]
    mel_CFM = torch.nn.functional.pad(pad_sequence(frames, batch_first=True), (0, 0, 0, 5))
    counts_C = torch.tensor([len(own) for own in frames])
    for row, count in enumerate(counts_C):
        mel_CFM[row, count:] = 3.0  # of whatever was in memory
    together = encoder(mel_CFM, counts_C)
    for row, (audio, own) in enumerate(zip(AUDIOS, frames, strict=True)):
        alone = encoder(own[None], torch.tensor([len(own)]))
        count = encoder.num_positions(len(audio))
        assert together.positions[row] == alone.positions[0] == count > 0
        torch.testing.assert_close(together.vectors[row, :count], alone.vectors[0, :count], atol=1e-5, rtol=0)
        assert not together.vectors[row, count:].any() and alone.vectors[0, :count].abs().max() > 0.01
    for given, own in zip(encoder.encode([*AUDIOS, AUDIOS[0][:0]]), [*together.vectors, None], strict=True):
        assert given.shape[1] == encoder.width
        torch.testing.assert_close(given, torch.zeros(0, 32) if own is None else own[: len(given)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_front_is_what_the_tokenizer_quantises(make_tokenizer: MakeTokenizer, variant: str) -> None:
    tokenizer = make_tokenizer(**VARIANTS[variant])
    encoder = TokenizerEncoder(tokenizer, "front").eval()
    for vectors_TE, codes in zip(encoder.encode(AUDIOS), tokenizer.encode(AUDIOS), strict=True):
        assert np.array_equal(tokenizer.quantiser.codes(vectors_TE).numpy(), codes)


@pytest.mark.parametrize("variant", ["fastconformer", "whisper"])
def test_a_streamed_front_equals_the_whole_and_gives_vectors_early(make_tokenizer: MakeTokenizer, variant: str) -> None:
    encoder = TokenizerEncoder(make_tokenizer(**VARIANTS[variant]), "front").eval()
    long = np.concatenate(AUDIOS)
    stream, found = encoder.open_stream(), []
    for start in range(0, len(long), 5_000):
        found.append(stream.feed(long[start : start + 5_000]))
    early = sum(map(len, found))
    found.append(stream.finish())
    torch.testing.assert_close(torch.from_numpy(np.concatenate(found)), encoder.encode([long])[0], atol=1e-5, rtol=0)
    assert early >= len(long) // 1280 - 4 and found[0].shape == (0, 32)  # a chunk is 4 positions of 1280 samples
    rows = [encoder.open_stream() for _ in range(2)]
    first = feed_rows(rows, [long[:20_000], None])
    assert first[0].shape == (12, 32) and first[1].shape == (0, 32)
    last = finish_rows(rows)
    assert np.array_equal(np.concatenate([first[0], last[0]]), encoder.open_stream().encode(long[:20_000]))


def test_long_audio_is_streamed(make_tokenizer: MakeTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TokenizerEncoder(make_tokenizer(), "front").eval()
    whole = encoder.encode(AUDIOS)
    monkeypatch.setattr("tokenizer.hearing.base.LONGEST_BATCHED", 1.0)
    monkeypatch.setattr(encoder, "forward", None)
    streamed = encoder.encode([AUDIOS[0], AUDIOS[2]])
    for one, other in zip(streamed, [whole[0], whole[2]], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["vq", "fsq"])
def test_codes_become_codebook_vectors_through_the_back_half(make_tokenizer: MakeTokenizer, kind: str) -> None:
    tokenizer = make_tokenizer(QuantiserConfig(kind=kind, codebook_size=64))
    codes_CT, positions_C = torch.randint(0, 64, (2, 9)), torch.tensor([9, 5])
    codebook_CTD = tokenizer.quantiser.codebook[codes_CT].detach()
    front, back = (TokenizerEncoder(tokenizer, layer).eval() for layer in ("front", "back"))
    with torch.no_grad():
        found = front.from_codes(codes_CT, positions_C)
        assert torch.equal(found.vectors[0], codebook_CTD[0]) and torch.equal(found.vectors[1, :5], codebook_CTD[1, :5])
        assert not found.vectors[1, 5:].any()
        found = back.from_codes(codes_CT, positions_C)
        expected = tokenizer.back(codebook_CTD[1:, :5], positions_C[1:])[0]
        torch.testing.assert_close(found.vectors[1, :5], expected, atol=1e-5, rtol=0)
    assert front.codebook_size == 64 and front.codes_fingerprint == tokenizer.fingerprint


def test_gradients_reach_the_weights_and_one_frame_is_a_position(make_tokenizer: MakeTokenizer) -> None:
    encoder = TokenizerEncoder(make_tokenizer(), "back")
    result = encoder(torch.zeros(1, 1, 80), torch.tensor([1]))
    assert result.positions.tolist() == [1] and result.vectors.shape == (1, 1, 32)
    encoder(encoder.mel(AUDIOS[0])[None], torch.tensor([len(encoder.mel(AUDIOS[0]))])).vectors.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert encoder.bfloat16()(torch.zeros(1, 8, 80), torch.tensor([8])).vectors.dtype == torch.bfloat16


def test_the_front_end_travels_without_weights(make_tokenizer: MakeTokenizer) -> None:
    encoder = TokenizerEncoder(make_tokenizer(), "back")
    packed = pickle.dumps(encoder.front_end)
    assert len(packed) < 200_000 < len(pickle.dumps(encoder))
    front_end = pickle.loads(packed)
    assert torch.equal(front_end.mel(AUDIOS[0]), encoder.mel(AUDIOS[0])) and front_end.mel(AUDIOS[0]).shape == (192, 80)
    assert front_end.mel(AUDIOS[0][:0]).shape == (0, 80) and front_end.num_positions(0) == 0


def test_fingerprints_name_weights_and_layer(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path / "artefact")
    found = [load_encoder(tmp_path, layer).fingerprint for layer in ("front", "back")]
    assert found == [load_encoder(tmp_path / "artefact", layer).fingerprint for layer in ("front", "")]
    with torch.no_grad():
        tokenizer.back.encoder.layers[0].norm_out.bias[0] += 1e-3
    found += [TokenizerEncoder(tokenizer, layer).fingerprint for layer in ("front", "back")]
    assert found[2] == found[0] and len(set(found)) == 3  # the back half is none of the front's business
    with torch.no_grad():
        next(iter(tokenizer.front.parameters())).view(-1)[0] += 1e-3
    assert TokenizerEncoder(tokenizer, "front").fingerprint not in found


def test_bad_sources_are_named(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make_tokenizer().save_pretrained(tmp_path / "good")
    for source, layer, error in [
        ("nowhere", "", "nowhere.*no such file or folder.*an artefact of tokenizer.train"),
        ("empty", "", "empty.*no speech encoder"),
        ("good", "middle", "layer middle of an artefact.*its layers are back, front"),
    ]:
        with pytest.raises(UserError, match=error):
            load_encoder(tmp_path / source, layer)
    encoder = load_encoder(tmp_path / "good", "back")
    assert not encoder.is_streaming
    with pytest.raises(UserError, match="layer back, whose vectors depend on the whole clip"):
        encoder.open_stream()
    with pytest.raises(UserError, match="NaN"):
        encoder.encode([np.full(100, np.nan, dtype=np.float32)])
    made = TokenizerEncoder(make_tokenizer(QuantiserConfig(enabled=False, codebook_size=64)), "front")
    with pytest.raises(UserError, match="no codebook"):
        made.from_codes(torch.zeros(1, 1, dtype=torch.long), torch.tensor([1]))
