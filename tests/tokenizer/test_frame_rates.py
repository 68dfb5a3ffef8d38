"""Laws at each frame rate and with each quantiser: the rule of time, streaming == offline, saved == loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from corpus.audio.frame_rate import FRAME_RATES, FrameRate
from corpus.audio.mel_config import LogMelConfig
from runtime.artefact import identity
from runtime.errors import UserError
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

MakeTokenizer = Callable[..., SpeechTokenizer]


def random_audio(count: int, seed: int, longest: int = 60_000) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.1, random.integers(1, longest)).astype(np.float32) for _ in range(count)]


def stream(tokenizer: SpeechTokenizer, audio: np.ndarray, seed: int) -> np.ndarray:
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(audio), 3))
    with tokenizer.streaming() as opened:
        pieces = [opened.feed(piece) for piece in np.split(audio, cuts)]
        return np.concatenate([*pieces, opened.finish()])


@pytest.mark.parametrize("rate", FRAME_RATES)
def test_streamed_equals_offline_and_batched_equals_alone(make_tokenizer: MakeTokenizer, rate: float) -> None:
    """Over 200 utterances in all; fewer at 50 Hz, where each has the most tokens."""
    tokenizer = make_tokenizer(frame_rate=rate)
    audios = random_audio(26 if rate == 50 else 60, seed=int(rate))
    together = tokenizer.encode(audios)
    for at, (audio, tokens) in enumerate(zip(audios, together, strict=True)):
        assert len(tokens) == -(-len(audio) * rate // 16000)
        assert np.array_equal(stream(tokenizer, audio, at), tokens)
        assert np.array_equal(tokenizer.encode([audio])[0], tokens)
    assert len(np.unique(np.concatenate(together))) > 8


@pytest.mark.parametrize("rate", FRAME_RATES)
def test_a_token_sees_no_sample_beyond_its_chunk(make_tokenizer: MakeTokenizer, rate: float) -> None:
    tokenizer = make_tokenizer(frame_rate=rate)
    chunk = 4 * tokenizer.time.samples_per_token
    audio = np.random.default_rng(3).normal(0, 0.1, 6 * chunk).astype(np.float32)
    changed = audio.copy()
    changed[3 * chunk + 120 :] = 0.3  # 120 samples: the half window of the last mel frame
    with tokenizer.inference():
        one_1TD, other_1TD = (tokenizer.hidden([version])[0] for version in (audio, changed))
    same = (one_1TD == other_1TD).all(-1)[0]
    assert bool(same[:12].all()) and not bool(same[12:].any())


@pytest.mark.parametrize(
    "vq",
    [
        QuantiserConfig(kind="fsq", codebook_size=64),
        QuantiserConfig(kind="fsq", codebook_size=75, levels=[5, 5, 3]),
        QuantiserConfig(kind="simvq", codebook_size=64),
    ],
    ids=lambda vq: f"{vq.kind}-{vq.codebook_size}",
)
def test_other_quantisers_encode_stream_save_and_load(
    make_tokenizer: MakeTokenizer, vq: QuantiserConfig, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(vq, frame_rate=6.25, upsampling=4)
    tokenizer.save_pretrained(tmp_path / "artefact")
    loaded = SpeechTokenizer.from_pretrained(tmp_path / "artefact")
    audios = random_audio(20, seed=1)
    tokens = tokenizer.encode(audios)
    assert loaded.frame_rate == 6.25 and loaded.codebook_size == vq.codebook_size
    for at, audio in enumerate(audios):
        assert np.array_equal(stream(loaded, audio, at), tokens[at]) and tokens[at].max() < vq.codebook_size
    assert loaded.transcribe(audios) == tokenizer.read_tokens(tokens)
    assert loaded.fingerprint == tokenizer.fingerprint != make_tokenizer(vq, frame_rate=12.5).fingerprint


def test_an_artefact_of_before_the_option_keeps_its_fingerprint(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    first = "width heads front_layers back_layers feed_forward conv_kernel subsampling_channels left_context chunk"
    first += " dropout upsampling num_labels"  # the options of the first artefacts: one that is new must be LATER
    assert list(identity(TokenizerModelConfig())) == first.split()
    assert list(identity(LogMelConfig())) == ["sample_rate", "n_fft", "win", "hop", "num_mels", "floor", "mean", "std"]
    tokenizer.save_pretrained(tmp_path / "artefact")
    settings = yaml.safe_load((tmp_path / "artefact/config.yaml").read_text())
    settings["model"] = {name: settings["model"][name] for name in first.split()}
    del settings["vq"]["kind"], settings["vq"]["levels"], settings["mel"]["power"], settings["mel"]["before"]
    (tmp_path / "artefact/config.yaml").write_text(yaml.safe_dump(settings))
    assert SpeechTokenizer.from_pretrained(tmp_path / "artefact").fingerprint == tokenizer.fingerprint


def test_pooled_ctc_reads_padded_tokens_as_alone(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = make_tokenizer(frame_rate=50.0, upsampling=1, ctc_pooling=4)
    lengths_B = torch.tensor([1, 6, 13])
    encoded_BTD = torch.randn(3, 13, 32, generator=torch.Generator().manual_seed(0))
    together_BFV, counts_B = tokenizer.ctc_log_probs(encoded_BTD, lengths_B)
    assert counts_B.tolist() == [1, 2, 4] == [tokenizer.config.num_ctc_frames(int(one)) for one in lengths_B]
    for row, (length, count) in enumerate(zip(lengths_B, counts_B, strict=True)):
        alone_BFV, _ = tokenizer.ctc_log_probs(encoded_BTD[row : row + 1, :length], lengths_B[row : row + 1])
        torch.testing.assert_close(together_BFV[row, :count], alone_BFV[0])
    means = torch.stack([encoded_BTD[1, :4].mean(0), encoded_BTD[1, 4:6].mean(0)])
    assert tokenizer.head is not None
    torch.testing.assert_close(together_BFV[1, :2], tokenizer.head(means).log_softmax(-1))
    with pytest.raises(UserError, match=r"ctc_pooling.*upsampling"):
        TokenizerModelConfig(ctc_pooling=2, upsampling=2)


def test_another_rate_is_refused() -> None:
    with pytest.raises(UserError, match=r"frame_rate.*6\.25"):
        TokenizerModelConfig(frame_rate=10.0)
    with pytest.raises(UserError, match="frame_rate"):
        FrameRate(40.0)
