"""A tiny text-to-token model with random weights, exported as lm.export does it, and a synthesis by it."""

from pathlib import Path

import pytest
import torch

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from tests.support.small_synthesis import words
from text2token import synthesize

torch.set_num_threads(1)
WORDS = "the capital of france is paris a lion sleeps in house and cat likes red ball very much"


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    bpe = train_bpe([WORDS] * 3, 340)
    return build_vocabulary(bpe, num_speech_tokens=24, speech_tokenizer="abc", speakers=["ann", "bob", "carol"])


@pytest.fixture(scope="session")
def model_folder(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=vocabulary.padded_size(16),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=512,
        initializer_range=0.12,
    )
    folder = tmp_path_factory.mktemp("export") / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    vocabulary.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A folder whose ``whole`` is a synthesis in which nothing went wrong."""
    folder = tmp_path_factory.mktemp("synthesis")
    assert synthesize.STAGE.main(words(folder, model_folder, "whole")) == 0
    return folder
