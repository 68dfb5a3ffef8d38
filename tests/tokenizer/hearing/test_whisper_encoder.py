"""Laws of the Whisper encoder: equal to transformers' Qwen2-Audio encoder on padded clips, at any length."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from corpus.audio.files import Samples
from runtime.errors import UserError
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder

SECONDS = 2  # of a window here; Whisper's has 30
SIZES = (32_000, 31_999, 31_680, 8_000, 8_001, 159, 641, 16_161, 1)
AUDIOS: list[Samples] = [
    (0.1 * np.random.default_rng(size).normal(size=size) * np.linspace(1, 1e-3, size)).astype(np.float32)
    for size in SIZES
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random encoder, as transformers saves it."""
    from transformers import Qwen2AudioEncoder, Qwen2AudioEncoderConfig

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    encoder = Qwen2AudioEncoder(
        Qwen2AudioEncoderConfig(num_mel_bins=80, max_source_positions=50 * SECONDS, **sizes)
    ).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * (parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.3))
    folder = tmp_path_factory.mktemp("whisper")
    encoder.save_pretrained(folder)
    return folder


def by_transformers(folder: Path, *, is_pooled: bool) -> list[torch.Tensor]:
    """The vectors of clips padded to a window, under the mask that `Qwen2AudioForConditionalGeneration` makes."""
    from transformers import Qwen2AudioEncoder, WhisperFeatureExtractor

    encoder = Qwen2AudioEncoder.from_pretrained(folder, attn_implementation="eager").eval()
    extract = WhisperFeatureExtractor(feature_size=80, chunk_length=SECONDS)
    made = extract(AUDIOS, sampling_rate=16000, return_attention_mask=True, return_tensors="pt")
    feature_lengths, lengths = encoder._get_feat_extract_output_lengths(made["attention_mask"].sum(-1))
    is_padding = torch.arange(50 * SECONDS) >= feature_lengths[:, None]
    mask = torch.zeros(len(AUDIOS), 1, 50 * SECONDS, 50 * SECONDS).masked_fill(is_padding[:, None, None], -torch.inf)
    if not is_pooled:
        encoder.avg_pooler, lengths = torch.nn.Identity(), feature_lengths
    with torch.inference_mode():
        found = encoder(made["input_features"], attention_mask=mask).last_hidden_state
    return [row[:length] for row, length in zip(found, lengths.tolist(), strict=True)]


@pytest.mark.parametrize("layer", ["last", "pooled"])
def test_variable_length_equals_transformers_on_padded_clips(saved: Path, layer: str) -> None:
    encoder = load_encoder(saved, layer)
    expected = by_transformers(saved, is_pooled=layer == "pooled")
    for audio, given, own in zip(AUDIOS, encoder.encode(AUDIOS), expected, strict=True):
        assert len(given) == encoder.num_positions(len(audio)) == len(own)
        torch.testing.assert_close(given, own, atol=1e-5, rtol=0)
    assert [len(own) for own in expected][:4] == ([100, 100, 99, 25] if layer == "last" else [50, 50, 49, 12])
    assert encoder.positions_per_second == (50 if layer == "last" else 25) and encoder.width == 32


@pytest.mark.parametrize("layer", ["last", "pooled"])
def test_padding_and_batch_mates_change_no_vector_and_windows_are_apart(saved: Path, layer: str) -> None:
    encoder = load_encoder(saved, layer)
    long = np.concatenate(AUDIOS[:3] * 2)[:100_001]  # three windows and a bit
    assert_alone_is_together(encoder, [*AUDIOS, long])
    whole, parts = encoder.encode([long]), encoder.encode([long[at : at + 32_000] for at in range(0, 100_001, 32_000)])
    torch.testing.assert_close(whole[0], torch.cat(parts), atol=1e-5, rtol=0)
    assert len(whole[0]) == encoder.num_positions(100_001) and not encoder.is_streaming
    travelled = pickle.loads(pickle.dumps(encoder.front_end))
    assert torch.equal(travelled.mel(long), encoder.mel(long))


def assert_alone_is_together(encoder: SpeechEncoder, audios: list[Samples]) -> None:
    """Each clip has the vectors in a batch, whatever lies in the padding, that it has alone."""
    frames = [encoder.mel(audio) for audio in audios]
    counts_C = torch.tensor([len(own) for own in frames])
    mel_CFM = pad_sequence(frames, batch_first=True)
    for row, count in enumerate(counts_C):
        mel_CFM[row, count:] = 3.0
    with torch.inference_mode():
        together = encoder(mel_CFM, counts_C)
        for row, (audio, own) in enumerate(zip(audios, frames, strict=True)):
            alone = encoder(own[None], counts_C[row : row + 1])
            count = encoder.num_positions(len(audio))
            assert together.positions[row] == alone.positions[0] == count
            torch.testing.assert_close(together.vectors[row, :count], alone.vectors[0, :count], atol=1e-5, rtol=0)
            assert not together.vectors[row, count:].any()
        assert encoder(torch.zeros(1, 1, encoder.front_end.frame_width), torch.tensor([1])).vectors.shape[1] >= 1


def test_a_whisper_of_transformers_is_read_and_named(saved: Path, tmp_path: Path) -> None:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(1)
    sizes: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "vocab_size": 60}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **tokens, num_mel_bins=128)).eval()
    model.save_pretrained(tmp_path / "whisper")
    encoder = load_encoder(tmp_path / "whisper")
    full = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)  # transformers attends to padding
    with torch.inference_mode():
        expected = model.model.encoder(encoder.mel(full).T[None]).last_hidden_state[0]
    torch.testing.assert_close(encoder.encode([full])[0], expected, atol=1e-5, rtol=0)
    found = {load_encoder(tmp_path / "whisper", layer).fingerprint for layer in ("last", "pooled")}
    with torch.no_grad():
        model.model.encoder.conv1.bias[0] += 1e-3
    model.save_pretrained(tmp_path / "whisper")
    assert len(found | {load_encoder(tmp_path / "whisper").fingerprint}) == 3


def test_a_whisper_that_does_not_fit_is_named(saved: Path, tmp_path: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    for name, change, error in [
        ("gelu", {"activation_function": "relu"}, "activation_function is relu"),
        ("wide", {"d_model": 64}, "conv1.weight of shape"),
        ("deep", {"encoder_layers": 9}, r"no layers\.3"),
        ("other", {"model_type": "llama"}, "no speech encoder.*a folder of transformers' Whisper"),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").symlink_to(saved / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=error):
            load_encoder(folder)
