"""A model that hears by Whisper's encoder, exported as transformers' Qwen2-Audio: the same logits, the same answers."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm import export_audio
from lm.data.formats import asr_prompt
from lm.huggingface.config import ExportAudioConfig
from lm.inference.listening_model import HeardPrompt, ListeningModel
from lm.training.connector import Connector
from lm.training.speech_config import ConnectorConfig, SpeechRecord
from runtime.artefact import read_json, write_json
from runtime.errors import UserError
from tests.support.small_listening_model import save_small_listening_model
from tests.support.small_speech_model import HIDDEN, noise
from tokenizer.hearing.load import load_encoder


def save_whisper(folder: Path) -> None:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(2)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lm.export writes: the language model, a linear connector, and Whisper's pooled vectors."""
    folder = tmp_path_factory.mktemp("hearing")
    save_small_listening_model(folder)
    root = folder / "hearing"
    shutil.rmtree(root / "encoder")
    save_whisper(root / "encoder")
    encoder = load_encoder(root / "encoder", layer="pooled")
    torch.manual_seed(3)
    shape = ConnectorConfig(kind="linear")
    connector = Connector(shape, encoder.width, HIDDEN)
    save_file(connector.state_dict(), root / "connector.safetensors")
    record = SpeechRecord(
        kind="audio", encoder=encoder.fingerprint, source="encoder", layer="pooled",
        positions_per_second=encoder.positions_per_second, width=encoder.width, connector=shape,
    )  # fmt: skip
    write_json(root / "hearing.json", asdict(record))
    return folder


def export(source: Path, out: Path, **options: Any) -> dict[str, Any]:
    return export_audio.STAGE.execute(ExportAudioConfig(out=str(out), model=str(source), **options))


def test_transformers_answers_as_the_listening_model(hearing: Path, tmp_path: Path) -> None:
    from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

    ends = {"eos_token_id": [3, 5], "pad_token_id": 1}
    write_json(hearing / "model" / "generation_config.json", ends)
    metrics = export(hearing, tmp_path, shard_gigabytes=1e-5)
    assert metrics["logit_difference"] < 1e-5
    folder = str(tmp_path / "model")
    assert len(list(Path(folder).glob("model-*.safetensors"))) > 3
    model: Any = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    assert model.generation_config.eos_token_id == [3, 5]
    processor: Any = Qwen2AudioProcessor.from_pretrained(folder)
    ours = ListeningModel.from_pretrained(hearing)
    clips = [noise(number, 0.6 + number / 2) for number in range(3)]
    for clip in clips:
        heard = ours.hear([clip])
        ids = asr_prompt(ours.placeholders(heard[0]), ours.vocabulary)
        wanted = ours.generate([HeardPrompt(ids, heard)], max_new_tokens=8, stop=ours.vocabulary.end_ids, allowed="any")
        # As a user of transformers would: a prompt with one audio token, which the processor repeats.
        text = "<|asr|><|begin_of_audio|><|audio_0|><|end_of_audio|>"
        inputs = processor(text=text, audio=[clip], sampling_rate=16_000, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == ids.tolist()
        made = model.generate(
            **inputs, max_new_tokens=8, do_sample=False, suppress_tokens=[ours.vocabulary.pad],
            eos_token_id=ours.vocabulary.end_ids, pad_token_id=ours.vocabulary.pad,
        )  # fmt: skip
        assert made[0, len(ids) :].tolist() == wanted[0].tolist()


def test_a_trained_encoder_goes_along(hearing: Path, tmp_path: Path) -> None:
    shutil.copytree(hearing, tmp_path / "trained")
    root = tmp_path / "trained" / "hearing"
    state = load_encoder(root / "encoder", layer="pooled").state_dict()
    save_file({name: value + 0.1 for name, value in state.items() if "embed" not in name} | {
        "embed_positions": state["embed_positions"]
    }, root / "encoder.safetensors")  # fmt: skip
    write_json(root / "hearing.json", read_json(root / "hearing.json") | {"holds_encoder": True})
    export(tmp_path / "trained", tmp_path / "a")
    export(hearing, tmp_path / "b", check=False)
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "ab")
    name = "audio_tower.layers.1.fc1.weight"
    assert torch.allclose(one[name], other[name] + 0.1)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"layer": "last"}, "layer last, where Qwen2-Audio's is pooled"),
        ({"connector": {"kind": "mlp", "stride": 1, "width": 0, "dropout": 0.0}}, "a connector of kind mlp"),
        ({"source": ""}, "no encoder, which Qwen2-Audio's is"),
    ],
)
def test_what_qwen2_audio_has_not_is_refused(
    changes: dict[str, Any], found: str, hearing: Path, tmp_path: Path
) -> None:
    shutil.copytree(hearing, tmp_path / "other")
    root = tmp_path / "other" / "hearing"
    encoder = load_encoder(root / "encoder", layer=changes.get("layer", "pooled"))
    changed = read_json(root / "hearing.json") | {"encoder": encoder.fingerprint} | changes
    write_json(root / "hearing.json", changed)
    if "connector" in changes:
        shape = ConnectorConfig(kind="mlp")
        save_file(Connector(shape, encoder.width, HIDDEN).state_dict(), root / "connector.safetensors")
    with pytest.raises(UserError) as refused:
        export(tmp_path / "other", tmp_path / "out")
    assert found in str(refused.value)


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    save_small_listening_model(tmp_path / "tokenizer")
    with pytest.raises(UserError, match="an encoder that is no Whisper"):
        export(tmp_path / "tokenizer", tmp_path / "out")
