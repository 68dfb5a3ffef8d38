"""The options of lm.export, lm.export_audio and lm.import_hf."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class ExportConfig(StageConfig):
    """Options of lm.export.

    Attributes:
        checkpoint: output folder of lm.train or lm.import_hf.
        vocabulary: vocabulary folder.
        dtype: of the exported weights: ``fp32``, ``bf16``, or ``checkpoint``: as they were trained.
        max_positions: longest context the config promises; 0: the training sequence length, at least 2048, and where
            rotary positions are slowed (Llama-3.1), all of their range.
        shard_gigabytes: most of one safetensors file; it is held in memory while it is filled.
        chat_template: ``auto`` (the base model's where the vocabulary has one, else ours), ``speechweave`` (ours: a
            model fine-tuned on our dialogue format), ``none``, or a Jinja file.
        check_length: random ids on which both models' logits are compared; 0 skips the check.
        check_up_to: the check holds one model at a time in fp32; it is left out above this many parameters.
    """

    checkpoint: str
    vocabulary: str
    dtype: str = option("fp32", one_of=("fp32", "bf16", "checkpoint"))
    max_positions: int = option(0, at_least=0)
    shard_gigabytes: float = option(2.0, above=0)
    chat_template: str = "auto"
    check_length: int = option(64, at_least=0)
    check_up_to: int = option(2_000_000_000, at_least=0)


@dataclass(kw_only=True)
class ImportHfConfig(StageConfig):
    """Options of lm.import_hf.

    Attributes:
        model: folder of a Hugging Face model (config.json, safetensors, tokenizer.json).
        vocabulary: vocabulary folder that lm.vocabulary grew from that model's tokenizer.
        precision: of the checkpoint's weights: ``source`` (as in the files; fp16 becomes fp32), ``bf16`` or ``fp32``.
        noise: spread of the new ids' rows around the mean of the known ones, in the known rows' own spread; our choice.
        vocabulary_multiple: the vocabulary is padded to a multiple of this.
        sequence_length: what the checkpoint's record says; training may differ.
    """

    model: str
    vocabulary: str
    precision: str = option("source", one_of=("source", "fp32", "bf16"))
    noise: float = option(0.02, at_least=0)
    vocabulary_multiple: int = option(128, at_least=1)
    sequence_length: int = option(8192, at_least=1)


@dataclass(kw_only=True)
class ExportAudioConfig(StageConfig):
    """Options of lm.export_audio.

    Attributes:
        model: output folder of lm.export, of a model that hears by Whisper's encoder (layer pooled) and a linear
            connector.
        shard_gigabytes: most of one safetensors file.
        check: compare the logits after a clip; holds both models in fp32.
    """

    model: str
    shard_gigabytes: float = option(2.0, above=0)
    check: bool = True
