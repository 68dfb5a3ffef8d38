"""Import: a foreign model's logits under every layout, its very weights again at export, memory that does not grow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.export import STAGE as EXPORT
from lm.huggingface.config import ExportConfig, ImportHfConfig
from lm.huggingface.weights import HuggingFaceWeights, SafetensorsWriter
from lm.import_hf import STAGE as IMPORT
from lm.training.model_config import LmModelConfig
from runtime.errors import UserError
from runtime.stage import Run
from tests.support.family_shapes import FAMILY_SHAPES

VARIANTS = {"llama": {"rope_scaling": 8.0}, "qwen2": {"tied": True}, "glm": {"norm_epsilon": 1.5625e-7}}
SHAPES = {name: shape | VARIANTS.get(name, {}) for name, shape in FAMILY_SHAPES.items()}
WIDTHS = {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}


class Foreign(NamedTuple):
    folder: Path
    model: Any
    num_ids: int
    grown: Path
    out: Path


def foreign_config(shape: LmModelConfig, num_ids: int, name: str = "llama") -> Any:
    """A family's config of this shape in transformers' own words, none of ours."""
    from transformers import AutoConfig

    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_base}
    if shape.rope_share != 1.0:
        rope["partial_rotary_factor"] = shape.rope_share
    if shape.rope_scaling != 1.0:
        slowed = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
        rope |= {"rope_type": "llama3", "factor": shape.rope_scaling, **slowed}
    return AutoConfig.for_model(
        name,
        vocab_size=num_ids,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=64,
        rms_norm_eps=shape.norm_epsilon,
        rope_parameters=rope,
        tie_word_embeddings=shape.tied,
        initializer_range=0.2,
        eos_token_id=0,
        pad_token_id=1,
        attention_bias=shape.qkv_bias,
        sliding_window=None,
    )


def make_foreign(
    texts: list[str], folder: Path, shape: LmModelConfig, dtype: torch.dtype = torch.float32, name: str = "llama"
) -> Foreign:
    """A random model of a family as transformers saves it, its tokenizer, and a vocabulary grown from it."""
    from transformers import AutoModelForCausalLM

    bpe = train_bpe(texts, 300)
    num_ids = bpe.get_vocab_size()
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(foreign_config(shape, num_ids + 13, name)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key or key.endswith("bias"):
                parameter.add_(0.3 * torch.randn(parameter.shape))
    model = model.to(dtype)
    model.save_pretrained(folder / "foreign", max_shard_size="40KB")
    bpe.save(str(folder / "foreign/tokenizer.json"))
    vocabulary = build_vocabulary(bpe, num_speech_tokens=32, speech_tokenizer="abc", speakers=["anna"])
    vocabulary.save_pretrained(folder / "grown")
    return Foreign(folder / "foreign", model, num_ids, folder / "grown", folder / "out")


def convert(foreign: Foreign, run_ranks: Any, **options: Any) -> dict[str, Any]:
    config = ImportHfConfig(
        out=str(foreign.out), model=str(foreign.folder), vocabulary=str(foreign.grown), vocabulary_multiple=16,
        sequence_length=64, **options,
    )  # fmt: skip
    foreign.out.mkdir()
    metrics: dict[str, Any] = run_ranks(lambda: IMPORT.run(config, Run(foreign.out)), 1)[0]
    return metrics


def core_logits(out: Path, ids: Tensor, **layout: Any) -> np.ndarray | None:
    """Logits (1, T, V) of the checkpoint under a layout, on its last stage; None elsewhere."""
    import torch.distributed as dist
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel.mappings import gather_from_tensor_model_parallel_region

    from lm.training.checkpoint import CheckpointRecord, find_checkpoint, load_weights
    from lm.training.model import build_model, transformer_config
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    path, parallel = find_checkpoint(out), ParallelConfig(**layout)
    record = CheckpointRecord.read(path)
    with open_processes(parallel), torch.no_grad():
        core = transformer_config(record.model, parallel, precision="fp32")
        chunks = build_model(record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=64, seed=7)
        load_weights(path, chunks)
        chunk, positions = chunks[0].eval(), torch.arange(ids.size(1))[None]
        if parallel.pipeline > 1 and dist.get_rank() == 0:
            dist.send(chunk(ids, positions, None), 1)
            return None
        if parallel.pipeline > 1:
            hidden = torch.empty(ids.size(1), 1, record.model.hidden)
            dist.recv(hidden, 0)
            chunk.set_input_tensor(hidden)
        logits = chunk(ids, positions, None)
        if parallel_state.get_tensor_model_parallel_world_size() > 1:
            logits = gather_from_tensor_model_parallel_region(logits)
    return np.asarray(logits)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_weights_and_layouts(name: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """The known ids' logits are the foreign model's under one process, TP2 and PP2; export gives its bits back."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    foreign = make_foreign(tiny.texts, tmp_path, LmModelConfig(**{**WIDTHS, **SHAPES[name]}), name=name)
    assert len(list(foreign.folder.glob("*.safetensors"))) > 1
    metrics = convert(foreign, run_ranks)
    vocabulary = Vocabulary.from_pretrained(foreign.grown)
    assert metrics["new_ids"] == vocabulary.size - foreign.num_ids and metrics["precision"] == "fp32"
    ids = torch.randint(foreign.num_ids, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = foreign.model(ids).logits[..., : foreign.num_ids]
    assert float(theirs.abs().max()) > 0.5
    for size, layout in ((1, {}), (2, {"tensor": 2}), (2, {"pipeline": 2})):
        ours = torch.from_numpy(run_ranks(lambda layout=layout: core_logits(foreign.out, ids, **layout), size)[-1])
        torch.testing.assert_close(ours[..., : foreign.num_ids], theirs, atol=1e-4, rtol=0)
    config = ExportConfig(
        out=str(tmp_path / "export"), checkpoint=str(foreign.out), vocabulary=str(foreign.grown), dtype="checkpoint"
    )
    assert run_ranks(lambda: EXPORT.run(config, Run(tmp_path / "export")), 1)[0]["logit_difference"] < 1e-4
    exported, original = load_file(tmp_path / "export/model/model.safetensors"), HuggingFaceWeights(foreign.folder)
    assert sorted(exported) == sorted(original.files)
    for key, weight in exported.items():
        known = slice(foreign.num_ids) if key in ("model.embed_tokens.weight", "lm_head.weight") else slice(None)
        assert torch.equal(weight[known], original.read(key)[known]), key
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "export/model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export/model")
    assert (again.config.model_type, type(again)) == (name, type(foreign.model))
    assert again.config.vocab_size == vocabulary.size == len(tokenizer)
    assert tokenizer("<|audio_31|>").input_ids == [vocabulary.size - 1]
    with torch.no_grad():
        assert torch.equal(again(ids).logits[..., : foreign.num_ids], theirs)


def write_in_original_format(foreign: Foreign, shape: LmModelConfig) -> None:
    """Turn the folder of a ``glm`` into one as GLM-4-9B was first released (``chatglm``)."""
    from safetensors.torch import save_file

    state = foreign.model.state_dict()
    renamed = {
        "transformer.embedding.word_embeddings.weight": state["model.embed_tokens.weight"],
        "transformer.encoder.final_layernorm.weight": state["model.norm.weight"],
        "transformer.output_layer.weight": state["lm_head.weight"],
        "transformer.rotary_pos_emb.inv_freq": torch.ones(4),
    }
    for layer in range(shape.layers):
        ours, theirs = f"model.layers.{layer}.", f"transformer.encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            parts = [state[f"{ours}self_attn.{part}_proj.{kind}"] for part in ("q", "k", "v")]
            renamed[f"{theirs}self_attention.query_key_value.{kind}"] = torch.cat(parts)
        renamed[f"{theirs}self_attention.dense.weight"] = state[f"{ours}self_attn.o_proj.weight"]
        renamed[f"{theirs}mlp.dense_h_to_4h.weight"] = state[f"{ours}mlp.gate_up_proj.weight"]
        renamed[f"{theirs}mlp.dense_4h_to_h.weight"] = state[f"{ours}mlp.down_proj.weight"]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            renamed[f"{theirs}{norm}.weight"] = state[f"{ours}{norm}.weight"]
    for file in (*foreign.folder.glob("*.safetensors"), *foreign.folder.glob("*.index.json")):
        file.unlink()
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, foreign.folder / "model.safetensors")
    content = {
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "num_layers": shape.layers,
        "hidden_size": shape.hidden,
        "ffn_hidden_size": shape.ffn,
        "rmsnorm": True,
        "num_attention_heads": shape.heads,
        "kv_channels": shape.head_width,
        "original_rope": True,
        "multi_query_attention": True,
        "multi_query_group_num": shape.kv_heads,
        "post_layer_norm": True,
        "layernorm_epsilon": shape.norm_epsilon,
        "rope_ratio": shape.rope_base / 1e4,
        "tie_word_embeddings": False,
        "padded_vocab_size": foreign.num_ids + 13,
        "seq_length": 131072,
    }
    (foreign.folder / "config.json").write_text(json.dumps(content))


def test_original_format_of_glm(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    shape = LmModelConfig(**{**WIDTHS, **SHAPES["glm"], "rope_base": 5e6})
    foreign = make_foreign(tiny.texts, tmp_path, shape, name="glm")
    write_in_original_format(foreign, shape)
    convert(foreign, run_ranks)
    ids = torch.randint(foreign.num_ids, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = foreign.model(ids).logits[..., : foreign.num_ids]
    ours = torch.from_numpy(run_ranks(lambda: core_logits(foreign.out, ids), 1)[0])
    torch.testing.assert_close(ours[..., : foreign.num_ids], theirs, atol=1e-4, rtol=0)
    file = foreign.folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"original_rope": False}))
    shutil.rmtree(foreign.out)
    with pytest.raises(RuntimeError, match=r"original_rope: False\. of this format models with original_rope=True"):
        convert(foreign, run_ranks)


def test_new_rows_are_the_mean_with_a_little_noise(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Also in bf16, which the source's files decide; the padded vocabulary loads under tensor parallel sizes."""
    from lm.huggingface.streamed_checkpoint import CheckpointTensors
    from lm.training.checkpoint import CheckpointRecord, find_checkpoint
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    foreign = make_foreign(tiny.texts, tmp_path, LmModelConfig(**WIDTHS), torch.bfloat16)
    assert convert(foreign, run_ranks, noise=0.1)["precision"] == "bf16"
    path = find_checkpoint(foreign.out)
    record = CheckpointRecord.read(path)

    def read() -> np.ndarray:
        with open_processes(ParallelConfig()):
            return CheckpointTensors(path, record).read("output_layer.weight").float().numpy()

    rows = torch.from_numpy(run_ranks(read, 1)[0])
    known, new = rows[: foreign.num_ids], rows[foreign.num_ids :]
    assert record.vocabulary_size % 16 == 0 and len(rows) == record.vocabulary_size
    assert torch.equal(known, foreign.model.lm_head.weight[: foreign.num_ids].float())
    spread = (new - known.mean(0)) / known.std(0)
    assert 0.08 < float(spread.std()) < 0.12 and abs(float(spread.mean())) < 0.01
    assert len({tuple(row.tolist()) for row in new}) == len(new)


def test_what_cannot_be_imported_is_named(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    foreign = make_foreign(tiny.texts, tmp_path, LmModelConfig(**WIDTHS))
    config = ImportHfConfig(out=str(foreign.out), model=str(foreign.folder), vocabulary=str(foreign.grown))
    foreign.out.mkdir()

    def refused(words: str, **changes: Any) -> None:
        changed = replace(config, **changes)
        with pytest.raises(RuntimeError, match=words):
            run_ranks(lambda: IMPORT.run(changed, Run(foreign.out)), 1)

    other = build_vocabulary(train_bpe(["other words"] * 3, 270), num_speech_tokens=8, speech_tokenizer="abc")
    other.save_pretrained(tmp_path / "other")
    refused("grow the vocabulary from it", vocabulary=str(tmp_path / "other"))
    shards = sorted(foreign.folder.glob("model-*.safetensors"))
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:-7])
    refused(f"{shards[1].name}: no safetensors file")
    shards[1].unlink()
    refused(f"{shards[1].name}: no such file. .*names this shard")
    shards[1].write_bytes(content)
    settings = json.loads((foreign.folder / "config.json").read_text())
    (foreign.folder / "config.json").write_text(json.dumps(settings | {"model_type": "qwen3"}))
    refused("no tensor .*k_norm.* another architecture")
    (foreign.folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 1}))
    refused("a tensor model.layers.1.* that has no place")
    (foreign.folder / "config.json").write_text(json.dumps(settings | {"model_type": "gpt2"}))
    refused("gpt2.*can be imported")
    shutil.rmtree(foreign.folder)
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        HuggingFaceWeights(foreign.folder)


MEASURE = """
import json, resource, sys, torch
from pathlib import Path
from runtime.stage import Run
from lm.export import STAGE as EXPORT
from lm.import_hf import STAGE as IMPORT
from lm.huggingface.config import ExportConfig, ImportHfConfig
import lm.huggingface.checkpoint_export, lm.huggingface.checkpoint_import, safetensors.torch

torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
(out / "in").mkdir(parents=True)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
IMPORT.run(ImportHfConfig(out=str(out / "in"), model=str(folder / "foreign"), vocabulary=str(folder / "grown")),
           Run(out / "in"))
imported = peak()
EXPORT.run(ExportConfig(out=str(out / "ex"), checkpoint=str(out / "in"), vocabulary=str(folder / "grown"),
                        check_length=0, dtype="checkpoint", shard_gigabytes=0.02), Run(out / "ex"))
print(json.dumps([imported - before, peak() - imported]))
"""


def test_memory_is_bounded_by_a_matrix(tiny: Any, tmp_path: Path) -> None:
    """A model of 300 MB passes through in both directions in the memory of its largest matrices, not its own."""
    shape = LmModelConfig(layers=16, hidden=512, heads=8, kv_heads=2, ffn=2048, qkv_bias=True)
    bpe = train_bpe(tiny.texts, 300)
    num_ids = 8000
    folder = tmp_path / "foreign"
    foreign_config(shape, num_ids, "qwen2").save_pretrained(folder)
    bpe.save(str(folder / "tokenizer.json"))
    vocabulary = build_vocabulary(bpe, num_speech_tokens=1024, speech_tokenizer="abc")
    vocabulary.save_pretrained(tmp_path / "grown")
    writer = SafetensorsWriter(folder, 100_000_000)
    sizes = []
    for name, size in foreign_shapes(shape, num_ids):
        writer.add(name, torch.full(size, 0.01))
        sizes.append(4 * torch.Size(size).numel())
    writer.close()
    assert sum(sizes) > 250e6
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(tmp_path), str(tmp_path / "out")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    imported, exported = json.loads(done.stdout.splitlines()[-1])
    # Largest: an embedding of 16 MB, of which a grown copy and a written one may live at once; and the allocator's own.
    assert imported < 0.3 * sum(sizes), f"{imported / 1e6:.0f} MB for a model of {sum(sizes) / 1e6:.0f} MB"
    assert exported < 0.3 * sum(sizes), f"{exported / 1e6:.0f} MB for a model of {sum(sizes) / 1e6:.0f} MB"
    assert len(list((tmp_path / "out/ex/model").glob("*.safetensors"))) > 10


def foreign_shapes(shape: LmModelConfig, num_ids: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Qwen2's tensors."""
    hidden, wide, narrow = shape.hidden, shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    rows: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens.weight", (num_ids, hidden))]
    for number in range(shape.layers):
        sizes = {"self_attn.q_proj": wide, "self_attn.k_proj": narrow, "self_attn.v_proj": narrow}
        for name, width in sizes.items():
            rows += [(f"model.layers.{number}.{name}.weight", (width, hidden))]
            rows += [(f"model.layers.{number}.{name}.bias", (width,))]
        rows += [(f"model.layers.{number}.self_attn.o_proj.weight", (hidden, wide))]
        rows += [(f"model.layers.{number}.mlp.{name}_proj.weight", (shape.ffn, hidden)) for name in ("gate", "up")]
        rows += [(f"model.layers.{number}.mlp.down_proj.weight", (hidden, shape.ffn))]
        norms = ("input_layernorm", "post_attention_layernorm")
        rows += [(f"model.layers.{number}.{name}.weight", (hidden,)) for name in norms]
    return [*rows, ("model.norm.weight", (hidden,)), ("lm_head.weight", (num_ids, hidden))]
