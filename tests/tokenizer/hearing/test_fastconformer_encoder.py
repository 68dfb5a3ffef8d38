"""Laws of the encoder made of a NeMo checkpoint: NeMo's own vectors, batch mates change none, also in training."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from runtime.errors import UserError
from tests.support.nemo_checkpoint import save_nemo
from tokenizer.hearing.load import load_encoder

AUDIOS = [np.random.default_rng(size).normal(0, 0.1, size).astype(np.float32) for size in (30_000, 16_000, 45_001, 400)]
STREAMING: dict[str, Any] = {"causal_downsampling": True, "conv_norm_type": "layer_norm", "conv_context_size": "causal"}
STREAMING |= {"att_context_style": "chunked_limited", "att_context_size": [8, 3]}


@pytest.mark.parametrize("options", [{}, STREAMING], ids=["full-context", "chunked"])
def test_vectors_are_nemos_own(tmp_path: Path, options: dict[str, Any]) -> None:
    model = save_nemo(tmp_path / "tiny.nemo", **options)
    model.preprocessor.featurizer.pad_to = 0
    encoder = load_encoder(tmp_path / "tiny.nemo")
    assert (encoder.width, encoder.positions_per_second, encoder.sample_rate) == (32, 12.5, 16000)
    for audio, given in zip(AUDIOS, encoder.encode(AUDIOS), strict=True):
        with torch.inference_mode():
            samples, size = torch.from_numpy(audio)[None], torch.tensor([len(audio)])
            mel, count = model.preprocessor(input_signal=samples, length=size)
            expected, length = model.encoder(audio_signal=mel, length=count)
        assert len(given) == encoder.num_positions(len(audio)) == int(length)
        torch.testing.assert_close(given, expected[0, :, : int(length)].T, atol=1e-5, rtol=0)
    assert [encoder.num_positions(size) for size in (0, 100, 160)] == [0, 0, 1]
    assert encoder.encode([AUDIOS[0][:100]])[0].shape == (0, 32)


def test_the_front_end_travels_without_weights(tmp_path: Path) -> None:
    save_nemo(tmp_path / "tiny.nemo")
    front_end = load_encoder(tmp_path / "tiny.nemo").front_end
    travelled = pickle.loads(pickle.dumps(front_end))
    assert torch.equal(travelled.mel(AUDIOS[0]), front_end.mel(AUDIOS[0])) and travelled.num_positions(16_000) == 13


def test_batch_mates_change_no_vector_also_in_training(tmp_path: Path) -> None:
    save_nemo(tmp_path / "tiny.nemo", dropout=0.0, dropout_pre_encoder=0.0, dropout_emb=0.0, dropout_att=0.0)
    encoder = load_encoder(tmp_path / "tiny.nemo").train()
    frames = [encoder.mel(audio) for audio in AUDIOS]
    counts_C = torch.tensor([len(own) for own in frames])
    mel_CFM = pad_sequence(frames, batch_first=True)
    for row, count in enumerate(counts_C):
        mel_CFM[row, count:] = 3.0
    together = encoder(mel_CFM, counts_C)
    for row, own in enumerate(frames):
        alone = encoder(own[None], counts_C[row : row + 1])
        count = int(alone.positions[0])
        assert int(together.positions[row]) == count
        torch.testing.assert_close(together.vectors[row, :count], alone.vectors[0, :count], atol=1e-5, rtol=0)
        assert not together.vectors[row, count:].any()
    together.vectors.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters() if parameter.requires_grad)
    assert encoder(torch.zeros(1, 1, 80), torch.tensor([1])).vectors.shape[:2] == (1, 1)


def test_a_checkpoint_of_another_kind_is_named(tmp_path: Path) -> None:
    save_nemo(tmp_path / "good.nemo")
    with tarfile.open(tmp_path / "good.nemo") as archive:
        archive.extractall(tmp_path / "parts", filter="data")
    config = tmp_path / "parts/model_config.yaml"
    config.write_text(config.read_text().replace("n_layers: 5", "n_layers: 6"))
    with tarfile.open(tmp_path / "deep.nemo", "w") as archive:
        archive.add(tmp_path / "parts", ".")
    with pytest.raises(UserError, match=r"deep\.nemo.*cannot be built.*layers\.5"):
        load_encoder(tmp_path / "deep.nemo")
    save_nemo(tmp_path / "flat.nemo", subsampling="striding_conv1d")  # NeMo itself cannot run it
    with pytest.raises(UserError, match=r"flat\.nemo.*subsampling=striding_conv1d"):
        load_encoder(tmp_path / "flat.nemo")
    (tmp_path / "torn.nemo").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"torn\.nemo.*no checkpoint of NeMo"):
        load_encoder(tmp_path / "torn.nemo")
    fingerprints = set()
    for name, options in (("a", {}), ("b", {"xscaling": False})):
        save_nemo(tmp_path / f"{name}.nemo", **options)
        fingerprints.add(load_encoder(tmp_path / f"{name}.nemo").fingerprint)
    assert len(fingerprints) == 2
