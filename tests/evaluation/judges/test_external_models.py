from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from evaluation.judges.external_models import load_predictor
from evaluation.judges.recognisers import find_recogniser
from runtime.errors import UserError

RATE = 16000


def test_wrong_paths_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give a \.nemo file"):
        find_recogniser(str(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        load_predictor(str(tmp_path / "missing.pt"))
    (tmp_path / "wrong.pt").write_bytes(b"no script")
    with pytest.raises(UserError, match="no TorchScript"):
        load_predictor(str(tmp_path / "wrong.pt"))


def test_a_recogniser_of_transformers_by_path(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """A random wav2vec 2.0: its words mean nothing, but they are of its own vocabulary, one text a file."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(0)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4}))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>")
    config = Wav2Vec2Config(
        vocab_size=5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "model")
    texts = find_recogniser(str(tmp_path / "model")).transcribe(list(spoken.values())[:2])
    assert len(texts) == 2
    assert all(set(text.lower()) <= set("ab <unk>pad") for text in texts)


def test_a_recogniser_of_nemo_by_path(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """A random CTC model that NeMo wrote; it knows the letter a only."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import DictConfig

    modules = "nemo.collections.asr.modules"
    encoder = {"feat_in": 80, "n_layers": 1, "d_model": 16, "n_heads": 2, "subsampling_conv_channels": 8}
    parts = {
        "sample_rate": RATE,
        "preprocessor": {"_target_": f"{modules}.AudioToMelSpectrogramPreprocessor", "features": 80},
        "encoder": {"_target_": f"{modules}.ConformerEncoder", "conv_kernel_size": 9} | encoder,
        "decoder": {"_target_": f"{modules}.ConvASRDecoder", "feat_in": 16, "num_classes": 1, "vocabulary": ["a"]},
    }
    EncDecCTCModel(DictConfig(parts)).save_to(str(tmp_path / "tiny.nemo"))
    texts = find_recogniser(str(tmp_path / "tiny.nemo")).transcribe(list(spoken.values())[:2])
    assert len(texts) == 2 and all(set(text) <= {"a"} for text in texts)
