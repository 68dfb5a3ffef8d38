"""Text tokenizers: byte-level BPE of our own training, and a base model's `tokenizers.Tokenizer`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from runtime.artefact import read_json
from runtime.errors import UserError, check_option

from .special_tokens import SpecialToken

TOKENIZER_FILE, SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"
NUM_BYTES = 256


def train_bpe(texts: Iterable[str], num_tokens: int) -> Tokenizer:
    """Train a byte-level BPE of at most ``num_tokens`` tokens (fewer where the texts hold fewer pairs to merge).

    Every string can be encoded (256 bytes are the alphabet), and with ``add_prefix_space`` a word at the start of a
    text is the same token as inside it, so that a text cut at a word boundary keeps its tokens.
    """
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


def read_base_tokenizer(base: Path) -> Tokenizer:
    """The tokenizer of a base model.

    Args:
        base: the model's folder, or its ``tokenizer.json``.

    Raises:
        UserError: no such file, or no tokenizer in it.
    """
    file = base / TOKENIZER_FILE if base.is_dir() else base
    if not file.is_file():
        remedy = f"give a folder that holds a {TOKENIZER_FILE} (a fast Hugging Face tokenizer)"
        raise UserError("option base", found=f"no file {file}", remedy=remedy)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises nothing finer
        raise UserError(str(file), found=f"no tokenizer ({error})", remedy="give a tokenizer.json") from error


def base_eos(base: Path, tokenizer: Tokenizer) -> str:
    """The token that ends a text of a base model: as its ``tokenizer_config.json`` says, else ``<|endoftext|>``.

    Raises:
        UserError: it names none, and has no ``<|endoftext|>``.
    """
    folder = base if base.is_dir() else base.parent
    settings = folder / SETTINGS_FILE
    named: Any = read_json(settings).get("eos_token") if settings.is_file() else None
    named = named.get("content") if isinstance(named, dict) else named
    if named:
        return str(named)
    default = SpecialToken.END_OF_TEXT
    if tokenizer.token_to_id(default) is not None:
        return default.value
    found = f"no EOS: {SETTINGS_FILE} names no eos_token, and there is no {default}"
    remedy = f"set eos=TOKEN to the token that ends its texts, or eos='{default}' to add that one"
    raise UserError(str(base), found=found, remedy=remedy)


def text_prefix(tokenizer: Tokenizer) -> str:
    """A prefix that makes a text's first word the token that it would be inside a text.

    One space for byte-level tokenizers; nothing where the tokenizer puts the space itself (SentencePiece).
    """
    lengths = {prefix: len(tokenizer.encode(prefix + "the of a", add_special_tokens=False).ids) for prefix in (" ", "")}
    return " " if lengths[" "] <= lengths[""] else ""
