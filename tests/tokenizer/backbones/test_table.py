"""Laws of the tables of backbones and quantisers: every row names what exists, keeps the contract, and streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from tokenizer.backbones.base import PostVQEncoder, PreVQEncoder, warm_start_of
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.table import BACKBONES
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.base import Quantiser
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.quantisers.table import QUANTISERS

MakeTokenizer = Callable[..., SpeechTokenizer]
AUDIO = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)


@pytest.mark.parametrize("kind", QUANTISERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_streams_with_every_quantiser(make_tokenizer: MakeTokenizer, backbone: str, kind: str) -> None:
    tokenizer = make_tokenizer(QuantiserConfig(kind=kind, codebook_size=64), backbone=backbone)
    assert isinstance(tokenizer.front, PreVQEncoder) and isinstance(tokenizer.back, PostVQEncoder)
    assert isinstance(tokenizer.quantiser, Quantiser) and tokenizer.quantiser.codebook.shape == (64, 32)
    tokenizer.front.initialise()
    tokenizer.back.initialise()
    with tokenizer.streaming() as stream:
        streamed = np.concatenate([stream.feed(AUDIO), stream.finish()])
    assert np.array_equal(streamed, tokenizer.encode([AUDIO])[0]) and len(streamed) == 32


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_names_its_options_and_its_weights(backbone: str) -> None:
    assert set(BACKBONES[backbone].options) <= {field.name for field in fields(TokenizerModelConfig)}
    assert callable(warm_start_of(backbone))
