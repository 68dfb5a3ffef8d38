"""A spoken corpus of tones, its tokens, and a tiny decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.files import write_audio
from corpus.audio.frame_rate import num_tokens
from corpus.manifest import Utterance, write_manifest
from corpus.tokens import TokenisedUtterance, write_tokens
from decoder.config import BackboneConfig, DecoderConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.vocoder import Vocoder

CODES = 16
MakeDecoder = Callable[..., SpeechDecoder]
TINY = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def vocoder() -> Vocoder:
    return Vocoder(VocoderConfig(width=32, layers=2, expansion=2)).eval()


@pytest.fixture
def make_decoder(vocoder: Vocoder) -> MakeDecoder:
    """Two voices, blocks of three tokens, random weights; options are those of `DecoderConfig`."""

    def make(vocoder: Vocoder = vocoder, **options: Any) -> SpeechDecoder:
        defaults: dict[str, Any] = {"encoder": TINY, "flow": FlowConfig(estimator=TINY)}
        defaults |= {"codebook_size": CODES, "speakers": ["anna", "bert"], "tokenizer": "0123456789abcdef"}
        defaults |= {"block_tokens": 3, "past_blocks": 1}
        return awake(SpeechDecoder(DecoderConfig(**(defaults | options)), vocoder))

    return make


@pytest.fixture
def decoder(make_decoder: MakeDecoder) -> SpeechDecoder:
    """Two voices, blocks of three tokens."""
    return make_decoder()


def awake(decoder: SpeechDecoder) -> SpeechDecoder:
    """Random weights everywhere, also where training starts from zero; a law must not hold only because of zeros."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return decoder.eval()


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """``corpus/`` and ``tokens/`` with 8 + 4 utterances; a token is the pitch of its 80 ms."""
    generator = np.random.default_rng(1)
    for split, count in (("train", 8), ("heldout_sentence", 4)):
        utterances, items = [], []
        for number in range(count):
            tokens = generator.integers(0, CODES, int(generator.integers(4, 9))).astype(np.uint16)
            phase = np.cumsum(np.repeat(200.0 + 100.0 * tokens, 1280)) / 16000
            audio = (0.3 * np.sin(2 * np.pi * phase)).astype(np.float32)[: -int(generator.integers(1, 1000))]
            file = tmp_path / "corpus" / "audio" / f"{split}-{number}.flac"
            write_audio(file, audio)
            speaker = ("anna", "bert")[number % 2]
            name = f"{split}-{number}"
            utterances.append(Utterance(name, file, len(audio) / 16000, "a tone", speaker))
            assert len(tokens) == num_tokens(len(audio))
            items.append(TokenisedUtterance(name, tokens, "a tone", len(audio) / 16000, speaker))
        write_manifest(tmp_path / "corpus" / f"{split}.jsonl", utterances)
        shard = tmp_path / "tokens" / f"{split}.parquet"
        write_tokens(shard, items, tokenizer="0123456789abcdef", codebook_size=CODES, frame_rate=12.5)
    (tmp_path / "corpus" / "voices.json").write_text(json.dumps({"answer": "anna"}))
    return tmp_path
