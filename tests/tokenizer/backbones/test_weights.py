"""Laws of weights from elsewhere: NeMo checkpoints, Whisper, the released GLM-4-Voice tokenizer, our own artefacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import UserError
from tests.support.nemo_checkpoint import save_nemo
from tokenizer.backbones.whisper_layers import sinusoids
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.training.warm_start import warm_start

MakeTokenizer = Callable[..., SpeechTokenizer]
STREAMING = {
    "causal_downsampling": True,
    "conv_norm_type": "layer_norm",
    "conv_context_size": "causal",
    "att_context_style": "chunked_limited",
    "att_context_size": [8, 3],
}


def test_a_streaming_nemo_checkpoint_is_taken_whole(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    """The front half then equals NeMo's encoder cut after as many layers, the back half its last ones."""
    model = save_nemo(tmp_path / "tiny.nemo", **STREAMING, xscaling=True)
    tokenizer = make_tokenizer(front_layers=3)
    said = warm_start(tokenizer, str(tmp_path / "tiny.nemo"))
    assert said.endswith("both halves")
    del model.encoder.layers[3:]
    mel_BMF, lengths_B = torch.randn(2, 80, 20 * 8), torch.tensor([20, 13])
    with torch.inference_mode():
        frames = torch.nn.functional.pad(mel_BMF, (1, 0)).transpose(1, 2)
        x_BTD, _ = model.encoder.pre_encode(x=frames, lengths=lengths_B * 8 + 1)
        expected, _ = model.encoder(audio_signal=x_BTD[:, 1:], length=lengths_B, bypass_pre_encode=True)
        found = tokenizer.eval().front(mel_BMF, lengths_B)
    assert torch.allclose(found[0], expected.transpose(1, 2)[0], atol=1e-5)
    assert torch.allclose(found[1, :13], expected.transpose(1, 2)[1, :13], atol=1e-5)
    whole = save_nemo(tmp_path / "again.nemo", **STREAMING).encoder
    for number, layer in enumerate(tokenizer.back.encoder.layers):
        assert torch.equal(layer.feed_forward1.linear1.weight, whole.layers[3 + number].feed_forward1.linear1.weight)


def test_an_offline_nemo_checkpoint_but_for_its_batch_norm(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    model = save_nemo(tmp_path / "tiny.nemo", xscaling=False, use_bias=False)
    tokenizer = make_tokenizer(frame_rate=6.25)
    said = warm_start(tokenizer, str(tmp_path / "tiny.nemo"))
    front, theirs = tokenizer.front.encoder, model.encoder
    assert "front.layers.0.conv.batch_norm.weight" in said and "pre_encode.conv.8.weight" in said
    assert torch.equal(front.layers[1].self_attn.linear_q.weight, theirs.layers[1].self_attn.linear_q.weight)
    assert float(front.layers[1].self_attn.linear_q.bias.abs().sum()) == 0
    assert torch.equal(front.pre_encode.conv[2].weight, theirs.pre_encode.conv[2].weight)
    same_rate = make_tokenizer()
    warm_start(same_rate, str(tmp_path / "tiny.nemo"))
    own, there = (encoder.pre_encode.out.weight.unflatten(1, (8, -1)) for encoder in (same_rate.front.encoder, theirs))
    assert own.shape[2] == there.shape[2] + 1 and torch.equal(own[:, :, 1:], there)
    (tokens,) = same_rate.encode([np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)])
    assert len(tokens) == 16


def test_a_checkpoint_that_does_not_fit_names_the_option(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    save_nemo(tmp_path / "tiny.nemo")
    for options, named in (({"front_layers": 4}, r"model\.front_layers"), ({"conv_kernel": 5}, "conv_kernel")):
        with pytest.raises(UserError, match=named):
            warm_start(make_tokenizer(**options), str(tmp_path / "tiny.nemo"))
    (tmp_path / "torn.nemo").write_bytes((tmp_path / "tiny.nemo").read_bytes()[:900])
    for name in ("torn.nemo", "missing.nemo"):
        with pytest.raises(UserError, match=name):
            warm_start(make_tokenizer(), str(tmp_path / name))


def whisper_weights(num_layers: int, prefix: str = "", width: int = 32, num_mels: int = 128) -> dict[str, torch.Tensor]:
    """Random weights of Hugging Face's names for Whisper's encoder."""
    torch.manual_seed(3)
    weights = {"conv1.weight": torch.randn(width, num_mels, 3), "conv1.bias": torch.randn(width)}
    weights |= {"conv2.weight": torch.randn(width, width, 3), "conv2.bias": torch.randn(width)}
    weights["embed_positions.weight"] = sinusoids(1500, width)
    for number in range(num_layers):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            weights[f"layers.{number}.self_attn.{name}.weight"] = torch.randn(width, width) / width**0.5
            if name != "k_proj":
                weights[f"layers.{number}.self_attn.{name}.bias"] = torch.randn(width)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            weights |= {f"layers.{number}.{name}.{part}": torch.randn(width) for part in ("weight", "bias")}
        for name, shape in (("fc1", (4 * width, width)), ("fc2", (width, 4 * width))):
            weights[f"layers.{number}.{name}.weight"] = torch.randn(shape) / shape[1] ** 0.5
            weights[f"layers.{number}.{name}.bias"] = torch.randn(shape[0])
    return {prefix + name: value for name, value in weights.items()}


WHISPER: dict[str, Any] = {
    "backbone": "whisper",
    "width": 32,
    "heads": 2,
    "feed_forward": 4,
    "num_mels": 128,
    "chunk": 50,
}


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
def test_the_names_of_the_released_tokenizer(make_tokenizer: MakeTokenizer, tmp_path: Path, prefix: str) -> None:
    """Random weights of that geometry at width 32: 16 layers, codebook, both position tables, running counts."""
    weights = whisper_weights(16, prefix)
    weights[f"{prefix}codebook.weight"] = torch.randn(64, 32)
    weights[f"{prefix}embed_positions2.weight"] = sinusoids(1500, 32)[:375].clone()
    weights |= {f"{prefix}ema_count": torch.ones(64), f"{prefix}ema_weight": torch.randn(64, 32)}
    save_file({name: value.bfloat16() for name, value in weights.items()}, tmp_path / "model.safetensors")
    tokenizer = make_tokenizer(**WHISPER, front_layers=16, back_layers=1, released_rules=True)
    before = tokenizer.fingerprint
    said = warm_start(tokenizer, str(tmp_path))
    assert "codebook" in said and "layers.15" in said and tokenizer.fingerprint != before
    rounded = weights[f"{prefix}layers.15.fc2.weight"].bfloat16().float()
    assert torch.equal(tokenizer.front.layers[15].fc2.weight, rounded)
    assert torch.equal(tokenizer.quantiser.codebook, weights[f"{prefix}codebook.weight"].bfloat16().float())
    audio = np.random.default_rng(0).normal(0, 0.1, 100_000).astype(np.float32)
    assert len(tokenizer.encode([audio])[0]) == 79


@pytest.mark.parametrize(
    ("vq", "named"),
    [({"kind": "simvq", "codebook_size": 64}, r"vq\.kind"), ({"codebook_size": 32}, r"vq\.codebook_size")],
)
def test_a_codebook_that_does_not_fit_names_the_option(
    make_tokenizer: MakeTokenizer, tmp_path: Path, vq: dict[str, Any], named: str
) -> None:
    weights = whisper_weights(2) | {"codebook.weight": torch.randn(64, 32)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=named):
        warm_start(make_tokenizer(QuantiserConfig(**vq), **WHISPER, front_layers=2, released_rules=True), str(tmp_path))


def test_a_whole_whisper_gives_both_halves_and_wrong_sizes_are_named(
    make_tokenizer: MakeTokenizer, tmp_path: Path
) -> None:
    weights = whisper_weights(6, "model.encoder.")
    weights |= {f"model.encoder.layer_norm.{part}": torch.randn(32) for part in ("weight", "bias")}
    save_file(weights, tmp_path / "model.safetensors")
    tokenizer = make_tokenizer(**WHISPER)
    warm_start(tokenizer, str(tmp_path))
    assert torch.equal(tokenizer.back.layers[1].fc1.bias, weights["model.encoder.layers.5.fc1.bias"])
    assert torch.equal(tokenizer.back.layer_norm.weight, weights["model.encoder.layer_norm.weight"])
    for options, named in (({"front_layers": 7}, "front_layers"), ({"num_mels": 80}, "num_mels")):
        with pytest.raises(UserError, match=named):
            warm_start(make_tokenizer(**(WHISPER | options)), str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        warm_start(tokenizer, str(tmp_path / "missing"))


def test_an_artefact_of_ours(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    source, target = make_tokenizer(), make_tokenizer(upsampling=1)
    with torch.no_grad():
        source.front.encoder.layers[0].norm_out.bias += 1
    source.save_pretrained(tmp_path / "artefact")
    assert "codebook" in warm_start(target, str(tmp_path / "artefact"))
    assert all(torch.equal(*pair) for pair in zip(target.front.parameters(), source.front.parameters(), strict=True))
    with pytest.raises(UserError, match=r"model\.\*"):
        warm_start(make_tokenizer(width=16), str(tmp_path / "artefact"))
