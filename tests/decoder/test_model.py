"""The decoder as a whole: length, determinism, batches, blocks, save and load, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decoder.encoder import TokenEncoder
from decoder.losses import prior_loss
from decoder.model import SpeechDecoder
from decoder.noise import Noise
from decoder.speaker import Speakers
from decoder.vocoder import Vocoder
from runtime.errors import UserError

CODES = 16  # of the fixture's codebook
OPTIONS = [{}, {"steps": 0}, {"guidance": 0.7}, {"solver": "midpoint"}, {"vocoder": "griffin_lim"}]


def some_tokens(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, length).astype(np.uint16)


@pytest.mark.parametrize("length", [1, 2, 7, 10, 25])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_token_is_1280_samples(decoder: SpeechDecoder, length: int, options: dict[str, object]) -> None:
    audio = decoder.decode(some_tokens(length), "bert", **options)  # type: ignore[arg-type]
    assert audio.shape == (1280 * length,)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()


@pytest.mark.parametrize("options", [{"vocoder": "model"}, {"vocoder": "griffin_lim"}])
def test_decoding_is_deterministic(decoder: SpeechDecoder, options: dict[str, str]) -> None:
    tokens = some_tokens(9)
    first = decoder.decode(tokens, **options)  # type: ignore[arg-type]
    torch.manual_seed(99)
    assert np.array_equal(first, decoder.decode(tokens, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"guidance": 0.7, "steps": 2}, {"vocoder": "griffin_lim"}])
def test_a_batch_gives_what_each_alone_gives(decoder: SpeechDecoder, options: dict[str, object]) -> None:
    tokens = [some_tokens(length, length) for length in (3, 11, 1, 8)]
    speakers = ["anna", "bert", None, "bert"]
    together = decoder.decode_batch(tokens, speakers, **options)  # type: ignore[arg-type]
    for item, speaker, audio in zip(tokens, speakers, together, strict=True):
        alone = decoder.decode(item, speaker, **options)  # type: ignore[arg-type]
        scale = float(np.abs(alone).max())
        tolerance = 1e-4 if options.get("vocoder") != "griffin_lim" else 2e-2  # 32 iterations amplify rounding
        np.testing.assert_allclose(audio / scale, alone / scale, atol=tolerance)


def test_blocks_can_be_made_before_the_end_is_known(decoder: SpeechDecoder) -> None:
    tokens = some_tokens(12)
    speakers, whole = Speakers(torch.zeros(1, dtype=torch.long)), torch.from_numpy(tokens.astype(np.int64))[None]
    mel = decoder.mel(whole, speakers, torch.ones_like(whole, dtype=torch.bool))
    for end in (3, 6, 9):  # blocks of three tokens
        part = whole[:, :end]
        early = decoder.mel(part, speakers, torch.ones_like(part, dtype=torch.bool))
        torch.testing.assert_close(early, mel[:, : 8 * end], rtol=1e-3, atol=1e-4)


def test_noise_belongs_to_the_position() -> None:
    whole, pieces = Noise(80).draw(160), Noise(80)
    assert torch.equal(torch.cat([pieces.draw(length) for length in (1, 0, 39, 7, 113)]), whole)
    assert abs(float(whole.mean())) < 0.05 and abs(float(whole.std()) - 1) < 0.05


def test_speakers_and_tokens_matter(decoder: SpeechDecoder) -> None:
    tokens = some_tokens(5)
    assert np.array_equal(decoder.decode(tokens), decoder.decode(tokens, "anna"))
    assert not np.array_equal(decoder.decode(tokens, "anna"), decoder.decode(tokens, "bert"))
    assert not np.array_equal(decoder.decode(tokens), decoder.decode((tokens + 1) % CODES))


def test_zero_steps_are_the_mean(decoder: SpeechDecoder) -> None:
    tokens, speakers, is_real = decoder.batch([some_tokens(6)], ["anna"])
    mean = decoder.encoder(tokens, speakers, is_real)
    assert mean.shape == (1, 48, 80)
    assert torch.equal(decoder.mel(tokens, speakers, is_real, steps=0), mean)


def test_save_and_load_give_the_same_waveform(decoder: SpeechDecoder, tmp_path: Path) -> None:
    decoder.save_pretrained(tmp_path / "artefact", {"flow.mel_distance": 0.25})
    again = SpeechDecoder.from_pretrained(tmp_path / "artefact")
    assert np.array_equal(decoder.decode(some_tokens(6), "bert"), again.decode(some_tokens(6), "bert"))
    assert (again.tokenizer, again.speakers, again.sample_rate) == (decoder.tokenizer, decoder.speakers, 16000)
    assert again.config == decoder.config
    card = (tmp_path / "artefact" / "README.md").read_text()
    assert "anna, bert" in card and decoder.tokenizer in card and "0.25" in card


def test_an_artefact_of_another_kind_is_refused(vocoder: Vocoder, tmp_path: Path) -> None:
    vocoder.save_pretrained(tmp_path / "artefact")
    with pytest.raises(UserError, match="kind 'vocoder'"):
        SpeechDecoder.from_pretrained(tmp_path / "artefact")


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (np.array([], dtype=np.uint16), "no tokens"),
        (np.array([0, CODES]), f"tokens from 0 to {CODES}"),
        (np.array([-1, 2]), "tokens from -1"),
        (np.array([[1, 2]]), "shape"),
        (np.array([0.5, 1.0]), "float64"),
    ],
)
def test_bad_tokens_are_explained(decoder: SpeechDecoder, tokens: np.ndarray, found: str) -> None:
    with pytest.raises(UserError, match=found):
        decoder.decode(tokens)
    with pytest.raises(UserError, match="utterance 2 of 2"):
        decoder.decode_batch([some_tokens(3), tokens])


def test_bad_voices_and_vocoders_are_explained(decoder: SpeechDecoder) -> None:
    with pytest.raises(UserError, match="choose one of: anna, bert"):
        decoder.decode(some_tokens(3), "carl")
    with pytest.raises(UserError, match="choose one of model, griffin_lim"):
        decoder.decode(some_tokens(3), vocoder="world")
    with pytest.raises(UserError, match="choose euler or midpoint"):
        decoder.decode(some_tokens(3), solver="heun")
    for wrong in ({"steps": -1}, {"guidance": -0.5}, {"guidance": float("nan")}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            decoder.decode(some_tokens(3), **wrong)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=next(iter(wrong))):
            decoder.streaming(**wrong)  # type: ignore[arg-type]


def test_weights_that_are_not_finite_are_refused(decoder: SpeechDecoder, tmp_path: Path) -> None:
    with torch.no_grad():
        decoder.encoder.mean_head.bias[3] = float("nan")
    decoder.save_pretrained(tmp_path / "artefact")
    with pytest.raises(UserError, match=r"not finite, encoder\.mean_head\.bias"):
        SpeechDecoder.from_pretrained(tmp_path / "artefact")


def test_the_flow_does_not_pull_at_the_mean(decoder: SpeechDecoder) -> None:
    tokens, speakers, is_real = decoder.batch([some_tokens(6)], ["anna"])
    mel = torch.randn(1, 48, 80)
    terms = decoder.loss(tokens, mel, speakers.rows, is_real)
    terms["flow"].backward()
    assert all(parameter.grad is None for parameter in decoder.encoder.parameters())
    assert decoder.flow.output.weight.grad is not None


def test_prior_loss_is_the_mean_square_of_real_frames() -> None:
    mean, mel = torch.randn(2, 16, 80), torch.randn(2, 16, 80)
    is_real = torch.arange(16)[None] < torch.tensor([[16], [8]])
    expected = torch.cat([(mean - mel)[0].square(), (mean - mel)[1, :8].square()]).mean()
    torch.testing.assert_close(prior_loss(mean, mel, is_real), expected)


def test_the_encoder_makes_eight_frames_a_token(decoder: SpeechDecoder) -> None:
    assert isinstance(decoder.encoder, TokenEncoder)
    tokens, speakers, is_real = decoder.batch([some_tokens(6), some_tokens(4)], [None, None])
    assert decoder.encoder(tokens, speakers, is_real).shape == (2, 48, 80)
