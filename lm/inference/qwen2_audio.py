"""Export of a model that hears as transformers' Qwen2-Audio: a Whisper encoder, one matrix, and any language model.

::

    model*.safetensors  audio_tower.* (the encoder), multi_modal_projector.linear.* (the connector), language_model.*
    config.json         Qwen2AudioForConditionalGeneration; audio_token_index is the id of <|audio_0|>
    tokenizer.json, preprocessor_config.json, processor_config.json, generation_config.json

transformers pads each clip to 30 s under a mask, ours takes clips at their own length: the logits are the same (a clip
is compared before anything is left behind). Prompts hold ``<|audio_0|>`` where a clip is; the processor repeats it.

S samples, P positions of a clip, T ids of a prompt, V ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Qwen2AudioConfig,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from corpus.audio.files import Samples
from lm.data.formats import asr_prompt
from lm.data.hearing_folder import MODEL_FOLDER
from lm.data.special_tokens import SpecialToken, audio_token
from lm.huggingface.config import ExportAudioConfig
from lm.huggingface.weights import HuggingFaceWeights, SafetensorsWriter
from runtime.artefact import atomic_folder, read_json, write_json
from runtime.errors import UserError
from runtime.stage import Run
from tokenizer.hearing.whisper_encoder import WhisperEncoder

from .batch_invariant_linear import BatchInvariantLinear
from .cached_llama import round_up
from .lent_vectors import fill_placeholders
from .listening_model import ListeningModel

TOLERANCE = 1e-4  # of logits, relative to the largest
CHECK_SECONDS = 1.7  # of the clip that is compared
TEXT_MODEL = "language_model."
GENERATION_FILE = "generation_config.json"


def export_qwen2_audio(config: ExportAudioConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; returns the largest difference of a logit, of the clip that was compared.

    Raises:
        UserError: an encoder or connector that Qwen2-Audio has not.
    """
    source = Path(config.model)
    model = ListeningModel.from_pretrained(source)
    encoder = checked_encoder(model, source)
    with atomic_folder(run.folder / "model") as folder:
        write_weights(folder, source / MODEL_FOLDER, model, encoder, int(config.shard_gigabytes * 1e9))
        write_settings(folder, source / MODEL_FOLDER, model, encoder)
        difference = logit_difference(folder, model) if config.check else None
    return {"parameters": sum(one.numel() for one in encoder.parameters())} | (
        {} if difference is None else {"logit_difference": difference}
    )


def checked_encoder(model: ListeningModel, source: Path) -> WhisperEncoder:
    """The encoder, if Qwen2-Audio has one of its kind."""
    encoder, record = model.encoder, model.record
    remedy = "use the parts that lm.export wrote, and the vectors as inputs_embeds or prompt embeddings"
    if not isinstance(encoder, WhisperEncoder):
        found = "an encoder that is no Whisper" if encoder is not None else "no encoder"
        raise UserError(str(source), found=f"{found}, which Qwen2-Audio's is", remedy=remedy)
    if encoder.layer != "pooled":
        remedy = f"train with layer=pooled, or {remedy}"
        raise UserError(str(source), found=f"layer {encoder.layer}, where Qwen2-Audio's is pooled", remedy=remedy)
    if record.connector.kind != "linear":
        remedy = f"train with speech.connector.kind=linear, or {remedy}"
        found = f"a connector of kind {record.connector.kind}, where Qwen2-Audio's is one matrix"
        raise UserError(str(source), found=found, remedy=remedy)
    return encoder


def write_weights(
    folder: Path, text_model: Path, model: ListeningModel, encoder: WhisperEncoder, shard_size: int
) -> None:
    """Write all weights by the names that Qwen2-Audio's files have; the language model's one tensor at a time."""
    writer = SafetensorsWriter(folder, shard_size)
    for name, tensor in encoder.state_dict().items():
        writer.add("audio_tower." + name.replace("embed_positions", "embed_positions.weight"), tensor.contiguous())
    for name, tensor in model.connector.state_dict().items():
        writer.add("multi_modal_projector." + name.replace("down.", "linear."), tensor.contiguous())
    stored = HuggingFaceWeights(text_model)
    for name in stored.files:
        writer.add(TEXT_MODEL + name, stored.read(name))
    writer.close()


def write_settings(folder: Path, text_model: Path, model: ListeningModel, encoder: WhisperEncoder) -> None:
    """Write configuration, tokenizer and processor."""
    vocabulary, num_mels = model.vocabulary, encoder.front_end.frame_width
    first: Any = encoder.layers[0]
    audio = Qwen2AudioEncoderConfig(
        d_model=encoder.width,
        num_mel_bins=num_mels,
        encoder_layers=len(encoder.layers),
        encoder_attention_heads=first.self_attn.heads,
        encoder_ffn_dim=first.fc1.out_features,
        max_source_positions=encoder.window,
    )
    text = AutoConfig.from_pretrained(str(text_model))
    settings = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=vocabulary.speech_offset)
    settings.architectures = ["Qwen2AudioForConditionalGeneration"]
    settings.dtype = text.dtype
    settings.tie_word_embeddings = text.tie_word_embeddings
    settings.save_pretrained(str(folder))
    tokenizer: Any = AutoTokenizer.from_pretrained(str(text_model))
    tokenizer.audio_token = audio_token(0)
    tokenizer.audio_bos_token = SpecialToken.BEGIN_OF_AUDIO.value
    tokenizer.audio_eos_token = SpecialToken.END_OF_AUDIO.value
    processor = Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=num_mels), tokenizer, chat_template=tokenizer.chat_template or ""
    )
    processor.save_pretrained(str(folder))
    ends = read_json(text_model / GENERATION_FILE)
    write_json(folder / GENERATION_FILE, ends)  # what ends an answer of the language model ends one of the whole
    # The vocabulary's own files: a folder that this program reads, too.
    vocabulary.save_pretrained(folder, chat_template=vocabulary.chat_template or "")


def logit_difference(folder: Path, model: ListeningModel) -> float:
    """The largest difference between our logits after a clip and transformers' of the exported folder."""
    clip = check_clip()
    exported: Any = Qwen2AudioForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32).eval()
    features = WhisperFeatureExtractor.from_pretrained(str(folder))(
        clip, sampling_rate=16_000, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    (vectors_PH,) = model.hear([clip])
    ids = asr_prompt(model.placeholders(vectors_PH), model.vocabulary)
    with torch.no_grad():
        theirs_TV = exported(
            input_ids=torch.from_numpy(ids.astype(np.int64))[None],
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            input_features=features["input_features"],
            feature_attention_mask=features["attention_mask"],
        ).logits[0, :, : model.vocabulary.size]
    ours_TV = our_logits(model, ids, vectors_PH)
    difference = float((ours_TV - theirs_TV).abs().max())
    assert difference <= TOLERANCE * max(1.0, float(ours_TV.abs().max())), f"exported logits differ by {difference}"
    return difference


def our_logits(model: ListeningModel, ids: Any, vectors_PH: Tensor) -> Tensor:
    """Logits (T, V) of a prompt with one clip, by the built-in generation's model."""
    core = model.generator.model
    with torch.inference_mode(), core.vectors.lent([vectors_PH]) as lent:
        row = fill_placeholders(ids, lent, model.vocabulary)
        cache = core.new_cache(1, round_up(len(row)))
        hidden_RPD = core.forward_padded([row], cache, np.zeros(1, dtype=np.int64), round_up(len(row)))
        head = BatchInvariantLinear(core.head[: model.vocabulary.size])
        return core.logits(hidden_RPD[0, : len(row)], head).clone()


def check_clip() -> Samples:
    """A sound (S,) of several pitches."""
    times = np.arange(round(CHECK_SECONDS * 16_000)) / 16_000
    chirps = np.sin(2 * np.pi * (200 + 300 * times) * times) + 0.5 * np.sin(2 * np.pi * 1234 * times)
    return (0.2 * chirps).astype(np.float32)
