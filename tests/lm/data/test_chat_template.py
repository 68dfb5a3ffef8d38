"""Our chat template writes the very ids of `lm.data.formats.chat_document`, in every format of replies."""

from __future__ import annotations

from typing import Any

import jinja2
import jinja2.sandbox
import numpy as np
import pytest
from tokenizers import Tokenizer

from lm.data.chat_template import chat_messages, our_template
from lm.data.formats import ChatTurn, chat_document
from lm.data.reply_format import ReplyFormat
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary

WORDS = ["the", "capital", "of", "france", "is", "paris", "sleeps"]
V = build_vocabulary(train_bpe([" ".join(WORDS)] * 6, 400), num_speech_tokens=16, speech_tokenizer="abc")
CODES = np.arange(12, dtype=np.uint16)
TURNS = [
    ChatTurn(CODES[:3], "the capital of france is paris", CODES, transcript="france"),
    ChatTurn("france sleeps", "paris sleeps", CODES[:5]),
    ChatTurn(CODES[4:6], "is", CODES[:1]),
    ChatTurn(("of the ", CODES[:2], " capital", CODES[3:5], "  is"), "paris", CODES[:2]),
]


def encoded(messages: list[dict[str, Any]], **options: Any) -> list[int]:
    """As transformers does it: the template's text, encoded with its special tokens."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(our_template(V)).render(messages=messages, **options)
    return list(Tokenizer.from_str(V._json).encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", ["text_guided", "streaming", "speech"])
@pytest.mark.parametrize("system", ["", "of the capital"])
def test_the_template_writes_the_documents(kind: str, system: str) -> None:
    format = ReplyFormat(kind=kind, text_block=2, speech_block=3)
    turns = [ChatTurn(turn.user, turn.reply, turn.speech) for turn in TURNS] if kind == "speech" else TURNS
    document = chat_document(turns, V, system=system, format=format).tolist()
    messages = chat_messages(turns, V, system=system, format=format)
    assert encoded(messages) == document
    asked = encoded(messages[:-1], add_generation_prompt=True)
    assert asked == document[: len(asked)] and asked[-1] == V.special("assistant")


def test_a_text_cut_within_a_word_goes_on() -> None:
    word = "capitals"  # no token of its own
    assert len(V.encode_text(word)) > 1
    messages = chat_messages(
        [ChatTurn("is", word, CODES)], V, format=ReplyFormat(kind="streaming", text_block=1, speech_block=1)
    )
    parts = [part for part in messages[1]["content"] if part["type"] == "text"]
    assert "".join(part["text"] for part in parts) == word
    assert [part.get("continues", False) for part in parts] == [False] + [True] * (len(parts) - 1)
