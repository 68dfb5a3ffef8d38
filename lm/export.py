"""Export a Megatron checkpoint of any layout as a Hugging Face Llama folder, tokenizer included.

    python -m lm.export checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_model

transformers, vLLM and SGLang load ``<out>/model`` as it is; its tokenizer.json holds the speech tokens
``<|audio_0|>`` to ``<|audio_{K-1}|>`` as tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpus.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from .checkpoint import CheckpointRecord
    from .vocabulary import Vocabulary


@dataclass(kw_only=True)
class ExportConfig(StageConfig):
    """Options of lm.export.

    Attributes:
        checkpoint: output folder of lm.train (its newest checkpoint is taken), or one checkpoint's folder.
        vocabulary: the vocabulary folder it was trained with.
        max_positions: longest context the exported config promises.
    """

    checkpoint: str
    vocabulary: str
    max_positions: int = 2048


def run(config: ExportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``."""
    from corpus.artefact import atomic_folder

    from .checkpoint import CheckpointRecord, check_shape, find_checkpoint
    from .vocabulary import Vocabulary

    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    source = find_checkpoint(config.checkpoint)
    record = CheckpointRecord.read(source)
    size = vocabulary.padded_size(record.model.vocabulary_multiple)
    check_shape(record, record.model, vocabulary.fingerprint, size, source)
    with run.progress(2, "exporting") as bar:
        weights = read_weights(source, record)
        bar.update()
        with atomic_folder(run.folder / "model") as folder:
            write_model(folder, weights, record, vocabulary, config.max_positions)
        bar.update()
    return {
        "parameters": sum(weight.numel() for weight in weights.values()),
        "step": record.step,
        "vocabulary_size": size,
    }


def read_weights(source: Path, record: CheckpointRecord) -> dict[str, Tensor]:
    """The checkpoint's whole weights under their Llama names, in fp32, on one process."""
    from .checkpoint import load_weights
    from .mapping import to_llama
    from .model import build_model, transformer_config
    from .parallel import ParallelConfig
    from .processes import open_processes

    layout = ParallelConfig()
    with open_processes(layout):
        megatron = transformer_config(record.model, layout, precision=record.precision)
        size = record.vocabulary_size
        chunks = build_model(record.model, megatron, vocabulary_size=size, sequence_length=8, seed=0)
        load_weights(source, chunks)
        inner = getattr(chunks[0], "module", chunks[0])
        return to_llama({name: value.detach().cpu() for name, value in inner.named_parameters()}, record.model)


def write_model(
    folder: Path, weights: dict[str, Tensor], record: CheckpointRecord, vocabulary: Vocabulary, max_positions: int
) -> None:
    """Write config, generation config, weights and tokenizer into ``folder``."""
    from safetensors.torch import save_file
    from transformers import GenerationConfig, LlamaConfig

    model = record.model
    settings = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=record.vocabulary_size,
        hidden_size=model.hidden,
        intermediate_size=model.ffn,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.head_width,
        max_position_embeddings=max_positions,
        rms_norm_eps=model.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": model.rope_base},
        tie_word_embeddings=model.tied,
        hidden_act="silu",
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=None,
        eos_token_id=vocabulary.eos,
        pad_token_id=vocabulary.pad,
        dtype="float32",
    )
    settings.save_pretrained(folder)
    GenerationConfig(eos_token_id=vocabulary.eos, pad_token_id=vocabulary.pad).save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    vocabulary.save_pretrained(folder)


STAGE = Stage(
    name="lm.export",
    config=ExportConfig,
    run=run,
    summary="Export a Megatron checkpoint as a Hugging Face Llama folder with its tokenizer.",
    inputs=lambda config: [config.checkpoint, config.vocabulary],
    example="checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_model",
)

if __name__ == "__main__":
    STAGE.exit()
