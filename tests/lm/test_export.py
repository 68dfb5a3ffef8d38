"""Export: the Hugging Face model gives the checkpoint's logits, and the table is its own inverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.stage import Run
from lm.export import ExportConfig, run
from lm.hf_mapping import from_llama, to_llama
from lm.model_config import ModelConfig
from lm.vocabulary import Vocabulary


def export(tiny: Any, folder: Path, **options: Any) -> dict[str, Any]:
    config = ExportConfig(
        out=str(folder / "export"), checkpoint=str(folder), vocabulary=str(tiny.folder / "vocabulary"), **options
    )
    return run(config, Run(folder / "export"))


@pytest.mark.parametrize(
    ("size", "options"),
    [(2, {"tensor": 2}), (2, {"pipeline": 2, "tied": True}), (1, {"precision": "bf16", "kv_heads": 4})],
    ids=["tensor", "pipeline, tied", "bf16"],
)
def test_transformers_gives_the_same_logits(
    size: int, options: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = run_ranks(lambda: tiny.train(tmp_path, steps=6, **options), size)[0]
    metrics = run_ranks(lambda: export(tiny, tmp_path), 1)[0]
    assert metrics["logit_difference"] < 1e-4
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "export/model")
    vocabulary = Vocabulary.from_pretrained(tmp_path / "export/model")
    assert model.config.vocab_size == vocabulary.size == len(AutoTokenizer.from_pretrained(tmp_path / "export/model"))
    assert model.config.max_position_embeddings == 2048 and model.config.eos_token_id == vocabulary.eos
    if size > 1:
        return
    # The exported model has the validation loss that training reported.
    losses, count = 0.0, 0
    for number in range(10):
        ids = torch.tensor(tiny.document("text", number), dtype=torch.long)[None]
        losses += float(model(ids, labels=ids).loss) * (ids.size(1) - 1)
        count += ids.size(1) - 1
    assert losses / count == pytest.approx(trained.metrics["val_loss.text"], rel=0.02)


def test_bf16_export(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    run_ranks(lambda: tiny.train(tmp_path, steps=5, layers=1), 1)
    run_ranks(lambda: export(tiny, tmp_path, dtype="bf16", max_positions=99), 1)
    config = json.loads((tmp_path / "export/model/config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["max_position_embeddings"] == 99


@pytest.mark.parametrize("tied", [False, True])
def test_the_table_is_its_own_inverse(tied: bool) -> None:
    model = ModelConfig(layers=2, hidden=16, heads=4, kv_heads=2, ffn=12, tied=tied)
    shapes = {
        "embedding.word_embeddings.weight": (32, 16),
        "decoder.final_layernorm.weight": (16,),
        "output_layer.weight": (32, 16),
    }
    for layer in range(2):
        here = f"decoder.layers.{layer}."
        shapes |= {
            here + "input_layernorm.weight": (16,),
            here + "self_attention.linear_qkv.weight": (32, 16),
            here + "self_attention.linear_proj.weight": (16, 16),
            here + "pre_mlp_layernorm.weight": (16,),
            here + "mlp.linear_fc1.weight": (24, 16),
            here + "mlp.linear_fc2.weight": (16, 12),
        }
    if tied:
        del shapes["output_layer.weight"]
    core = {name: torch.randn(shape) for name, shape in shapes.items()}
    back = from_llama(to_llama(core, model, 32), model, 32)
    assert sorted(back) == sorted(core)
    assert all(torch.equal(back[name], core[name]) for name in core)
    grown = from_llama(to_llama(core, model, 20), model, 32)["embedding.word_embeddings.weight"]
    assert torch.equal(grown[:20], core["embedding.word_embeddings.weight"][:20])
    torch.testing.assert_close(grown[25], grown[:20].mean(0))
