"""A tiny speech-text model of random weights, with its vocabulary, speech tokenizer and speech decoder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from corpus.audio.files import Samples
from decoder.config import BackboneConfig, DecoderConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.vocoder import Vocoder
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

CODES = 32
HIDDEN = 32
TEXTS = ["now the ball is in the box", "the capital of france is paris"]


def noise(seed: int, seconds: float) -> Samples:
    """A sound that wanders between pitches."""
    random = np.random.default_rng(seed)
    pitch = np.repeat(random.uniform(200, 4000, int(seconds * 12.5) + 1), 1280)[: int(seconds * 16000)]
    return (0.1 * np.sin(np.cumsum(2 * np.pi * pitch / 16000))).astype(np.float32)


class SmallModel(NamedTuple):
    """Folders of an exported model, of its speech tokenizer and of its speech decoder."""

    folder: Path
    tokenizer: Path
    decoder: Path
    vocabulary: Vocabulary


def make_speech_tokenizer() -> SpeechTokenizer:
    torch.manual_seed(0)
    config = TokenizerModelConfig(
        width=16, heads=2, front_layers=1, back_layers=1, feed_forward=1, subsampling_channels=4, num_labels=32
    )
    made = SpeechTokenizer(config, QuantiserConfig(codebook_size=CODES), Labels.from_texts(TEXTS, 32)).eval()
    made.front.initialise()
    with made.inference():
        hidden_BTD, _ = made.hidden([noise(9, 8.0)])
    made.quantiser.start(hidden_BTD[0].clone())
    return made


def save_small_llama(folder: Path, vocabulary: Vocabulary, *, max_positions: int) -> None:
    """A language model of `HIDDEN` wide layers and random weights, with its vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=max_positions,
        initializer_range=0.3,
        pad_token_id=vocabulary.pad,
        bos_token_id=None,
        eos_token_id=vocabulary.eos,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    vocabulary.save_pretrained(folder)


def save_small_model(folder: Path) -> SmallModel:
    """Write all its parts below a folder."""
    torch.set_num_threads(1)
    speech = make_speech_tokenizer()
    speech.save_pretrained(folder / "tokenizer")
    vocabulary = build_vocabulary(
        train_bpe(TEXTS * 4, 300), num_speech_tokens=CODES, speech_tokenizer=speech.fingerprint
    )
    save_small_llama(folder / "model", vocabulary, max_positions=256)
    small = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)
    decoder = DecoderConfig(
        encoder=small,
        flow=FlowConfig(estimator=small),
        codebook_size=CODES,
        speakers=["anna", "bert"],
        tokenizer=speech.fingerprint,
    )
    vocoder = Vocoder(VocoderConfig(width=32, layers=2, expansion=2))
    SpeechDecoder(decoder, vocoder).eval().save_pretrained(folder / "decoder")
    return SmallModel(folder / "model", folder / "tokenizer", folder / "decoder", vocabulary)
