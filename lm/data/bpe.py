"""Training of the text half of a vocabulary: byte-level BPE in which each frequent word is one token.

Every string can be encoded (256 bytes are the alphabet), and with ``add_prefix_space`` a word at the start of a text
is the same token as inside it, so that a text cut at a word boundary keeps its tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runtime.errors import check_option

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NUM_BYTES = 256


def train_bpe(texts: Iterable[str], num_tokens: int) -> Tokenizer:
    """Learn a byte-level BPE of at most ``num_tokens`` tokens (fewer where the texts hold fewer pairs to merge)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    check_option(num_tokens >= NUM_BYTES, "num_text_tokens", num_tokens, f"the bytes alone take {NUM_BYTES}: give more")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    bpe.train_from_iterator((f" {text}" for text in texts), trainer)
    return bpe
