"""Export: the Hugging Face model gives the checkpoint's logits, and the table is its own inverse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import UserError
from corpus.stage import Run
from lm.export import ExportConfig, run
from lm.families import family_of, huggingface_config, model_config
from lm.hf_mapping import from_huggingface, to_huggingface
from lm.import_hf import ImportConfig
from lm.import_hf import run as import_foreign
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


SHAPES = {
    "llama": {},
    "llama, tied": {"tied": True},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "head_size": 16},
    "glm": {"qkv_bias": True, "rope_interleaved": True, "rope_share": 0.5},
}


@pytest.mark.parametrize("name", SHAPES)
def test_families(name: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Biases and norms are trained before, so that they are not all zeros and ones; export compares the logits."""
    run_ranks(lambda: tiny.train(tmp_path, steps=5, layers=2, kv_heads=2, tensor=2, **SHAPES[name]), 2)
    metrics = run_ranks(lambda: export(tiny, tmp_path), 1)[0]
    assert metrics["logit_difference"] < 1e-4
    config = json.loads((tmp_path / "export/model/config.json").read_text())
    assert config["model_type"] == name.split(",")[0]


@pytest.mark.parametrize("name", SHAPES)
def test_the_table_is_its_own_inverse(name: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    model = ModelConfig(
        **{"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 12, "norm_epsilon": 1e-6} | SHAPES[name]
    )
    content = huggingface_config(model, num_ids=32, max_positions=64, dtype="fp32", eos=0, pad=1)
    found = model_config(content, vocabulary_multiple=model.vocabulary_multiple, subject="config.json")
    assert replace(found, head_size=0) == replace(model, head_size=0) and found.head_width == model.head_width
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**content)).state_dict()
    if model.tied:
        del theirs["lm_head.weight"]
    core = from_huggingface(theirs, model, num_known=20, num_rows=48)
    embedding = core["embedding.word_embeddings.weight"]
    assert torch.equal(embedding[:20], theirs["model.embed_tokens.weight"][:20])
    torch.testing.assert_close(embedding[47], embedding[:20].mean(0))
    back = to_huggingface(from_huggingface(theirs, model, num_known=32, num_rows=48), model, 32)
    assert sorted(back) == sorted(theirs)
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "llama, qwen2"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_type: llama3"),
        ({"mlp_bias": True}, "mlp_bias"),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], words: str) -> None:
    content = huggingface_config(ModelConfig(), num_ids=8, max_positions=8, dtype="fp32", eos=0, pad=1) | changes
    with pytest.raises(UserError, match=words):
        model_config(content, vocabulary_multiple=64, subject="config.json")
    with pytest.raises(UserError, match="no Hugging Face class"):
        family_of(ModelConfig(qk_norm=True, qkv_bias=True))


@pytest.mark.parametrize("name", ["qwen2", "glm"])
def test_a_foreign_model_with_a_grown_vocabulary(name: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Import and grow: known ids get the foreign model's logits; a vocabulary of another tokenizer is refused."""
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM

    from lm.bpe import train_bpe
    from lm.vocabulary import build_vocabulary

    bpe: Tokenizer = train_bpe(tiny.texts, 300)
    foreign, grown = tmp_path / "foreign", tmp_path / "grown"
    shape = ModelConfig(
        **{"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "init_std": 0.2} | SHAPES[name]
    )
    num_ids = bpe.get_vocab_size()
    padded = num_ids + 13  # foreign models pad their embedding too
    content = huggingface_config(shape, num_ids=padded, max_positions=64, dtype="fp32", eos=0, pad=1)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(**content, initializer_range=0.2)).eval()
    theirs.save_pretrained(foreign)
    bpe.save(str(foreign / "tokenizer.json"))
    vocabulary = build_vocabulary(bpe, num_speech_tokens=32, speech_tokenizer="abc", speakers=["anna", "bert"])
    vocabulary.save_pretrained(grown)
    out = tmp_path / "out"
    config = ImportConfig(out=str(out), model=str(foreign), vocabulary=str(grown), vocabulary_multiple=16)
    metrics = run_ranks(lambda: import_foreign(config, Run(out)), 1)[0]
    assert metrics["new_ids"] == vocabulary.size - num_ids
    exported = ExportConfig(out=str(tmp_path / "export"), checkpoint=str(out), vocabulary=str(grown))
    run_ranks(lambda: run(exported, Run(tmp_path / "export")), 1)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "export/model").eval()
    ids = torch.arange(40)[None] % num_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits[..., :num_ids], theirs(ids).logits[..., :num_ids])
    other = build_vocabulary(train_bpe(["other words"] * 3, 270), num_speech_tokens=8, speech_tokenizer="abc")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(RuntimeError, match="grow the vocabulary from it"):
        run_ranks(lambda: import_foreign(replace(config, vocabulary=str(tmp_path / "other")), Run(out)), 1)
