"""Export: the Hugging Face model gives the checkpoint's logits, and the table is its own inverse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.data.chat_template import find_template
from lm.data.vocabulary import Vocabulary
from lm.export import STAGE
from lm.huggingface.checkpoint_export import default_positions
from lm.huggingface.config import ExportConfig
from lm.huggingface.model_configs import huggingface_config
from lm.training.checkpoint import CheckpointRecord
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from runtime.errors import UserError
from runtime.stage import Run
from tests.support.family_shapes import FAMILY_SHAPES


def export(tiny: Any, folder: Path, **options: Any) -> dict[str, Any]:
    config = ExportConfig(
        out=str(folder / "export"), checkpoint=str(folder), vocabulary=str(tiny.folder / "vocabulary"), **options
    )
    return STAGE.run(config, Run(folder / "export"))


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
    assert model.config.max_position_embeddings == 2048
    # A reply ends at EOS, and where somebody else's turn begins.
    ends = [vocabulary.eos, vocabulary.special("user"), vocabulary.special("system")]
    assert model.config.eos_token_id == model.generation_config.eos_token_id == vocabulary.end_ids == ends
    assert_batched_answers_are_those_alone(tmp_path / "export/model", [tiny.texts[number] for number in range(6)])
    if size > 1:
        return
    # The exported model has the validation loss that training reported.
    losses, count = 0.0, 0
    for number in range(10):
        ids = torch.tensor(tiny.document("text", number), dtype=torch.long)[None]
        losses += float(model(ids, labels=ids).loss) * (ids.size(1) - 1)
        count += ids.size(1) - 1
    assert losses / count == pytest.approx(trained.metrics["val_loss.text"], rel=0.02)


def assert_batched_answers_are_those_alone(folder: Path, texts: list[str]) -> None:
    """As a user of transformers would: the tokenizer pads prompts of several lengths on its own side."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert len({len(tokenizer(text).input_ids) for text in texts}) > 1

    def answers(batch: list[str]) -> list[list[int]]:
        inputs = tokenizer(batch, padding=True, return_tensors="pt", return_token_type_ids=False)
        found = model.generate(**inputs, max_new_tokens=8, min_new_tokens=8, do_sample=False)
        return [row.tolist() for row in found[:, inputs.input_ids.size(1) :]]

    assert answers(texts) == [answers([text])[0] for text in texts]


def test_a_slowed_rotary_embedding_promises_its_whole_range() -> None:
    """Llama-3.1's, exported after training on short sequences: transformers refuses a context below the original."""
    from transformers import AutoConfig

    model = LmModelConfig(rope_scaling=8.0, rope_base=500_000.0)
    record = CheckpointRecord(
        step=1,
        model=model,
        vocabulary="",
        vocabulary_size=64,
        sequence_length=512,
        parallel=ParallelConfig(),
        precision="fp32",
    )
    content = huggingface_config(
        model, num_ids=64, max_positions=default_positions(record), dtype="fp32", eos=[0], pad=1
    )
    assert content["max_position_embeddings"] == 65_536
    AutoConfig.for_model(**content)


@pytest.mark.parametrize("name", ["qwen3", "glm4"])
def test_families(name: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Biases and norms are trained before, so that they are not all zeros and ones; export compares the logits."""
    run_ranks(
        lambda: tiny.train(tmp_path, steps=5, layers=2, kv_heads=2, tensor=2, sequence=True, **FAMILY_SHAPES[name]), 2
    )
    metrics = run_ranks(lambda: export(tiny, tmp_path), 1)[0]
    assert metrics["logit_difference"] < 1e-4
    config = json.loads((tmp_path / "export/model/config.json").read_text())
    assert config["model_type"] == name


def test_sandwich_norms_train_alike_under_layouts(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    options = {"steps": 6, "layers": 2, **FAMILY_SHAPES["glm4"]}
    one = run_ranks(lambda: tiny.train(tmp_path / "one", **options), 1)[0]
    two = run_ranks(lambda: tiny.train(tmp_path / "two", tensor=2, sequence=True, **options), 2)[0]
    assert two.losses == pytest.approx(one.losses, rel=1e-5)


def test_the_wanted_chat_template_is_exported(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Ours writes the dialogues of lm.data.formats; shards have an index; the vocabulary's own template comes first."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lm.data.formats import ChatTurn, chat_document

    run_ranks(lambda: tiny.train(tmp_path, steps=5, layers=2), 1)
    run_ranks(lambda: export(tiny, tmp_path, dtype="bf16", max_positions=99, shard_gigabytes=1e-5), 1)
    folder = tmp_path / "export/model"
    config = json.loads((folder / "config.json").read_text())
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert config["dtype"] == "bfloat16" and config["max_position_embeddings"] == 99
    assert len(set(index["weight_map"].values())) == len(list(folder.glob("*.safetensors"))) > 2
    AutoModelForCausalLM.from_pretrained(folder)
    tokenizer, vocabulary = AutoTokenizer.from_pretrained(folder), Vocabulary.from_pretrained(folder)
    codes = np.array([3, 9], dtype=np.uint16)
    turns = [ChatTurn(user=codes, reply="beta", speech=codes), ChatTurn(user="gama lo", reply="de")]
    audio = {"type": "audio", "tokens": [3, 9]}
    messages = [
        {"role": "system", "content": "ka ki"},
        {"role": "user", "content": [audio]},
        {"role": "assistant", "content": [{"type": "text", "text": "beta"}, audio]},
        {"role": "user", "content": "gama lo"},
        {"role": "assistant", "content": "de"},
    ]
    got = tokenizer.apply_chat_template(messages, return_dict=False)
    assert got == chat_document(turns, vocabulary, system="ka ki").tolist()
    asked = tokenizer.apply_chat_template(messages[:2], add_generation_prompt=True, return_dict=False)
    assert asked == got[: len(asked)]
    # Another template: a generation ends at the mark that it writes after an answer, too.
    turns_file = tmp_path / "turns.jinja"
    turns_file.write_text("{% for message in messages %}{{ message['content'] + '<|tts|>' }}{% endfor %}")
    run_ranks(lambda: export(tiny, tmp_path, chat_template=str(turns_file)), 1)
    for name in ("config.json", "generation_config.json"):
        ends = json.loads((folder / name).read_text())["eos_token_id"]
        assert ends == [*vocabulary.end_ids, vocabulary.special("tts")]
    assert find_template("none", vocabulary) == ""
    theirs = Vocabulary(vocabulary._json, vocabulary._record, "base")
    assert find_template("auto", theirs) == "base" and "begin_of_audio" in find_template("speechweave", theirs)
    with pytest.raises(UserError, match="no file"):
        find_template("nowhere.jinja", theirs)
