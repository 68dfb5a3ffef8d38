"""The Jinja chat template of an exported model: the base model's, or ours, which writes `lm.data.formats`' dialogues.

A message's content is a text, or a list of parts: ``{"type": "text", "text": ...}`` and ``{"type": "audio", "tokens":
[12, 407, ...]}`` (codes of the speech tokenizer). Contents that begin with a special token are taken as they are. A
message of the assistant may have a ``transcript``: the question's words, which it wrote before it replied. The
streaming format has parts in turn, audio without marks (``"marks": false``), and texts that go on within a word
(``"continues": true``); `chat_messages` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import UserError

from .formats import ChatTurn, Codes, ReplyPart, parted, reply_parts
from .reply_format import TEXT_GUIDED, ReplyFormat
from .vocabulary import Vocabulary

OURS = """\
{%- set prefix = PREFIX -%}
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' -}}
{%- if message['transcript'] is defined and message['transcript'] is not none -%}
{{- '<|transcript|>' + prefix + message['transcript'] + '<|assistant|>' -}}
{%- endif -%}
{%- if message['content'] is string -%}
{{- message['content'] if message['content'].startswith('<|') else prefix + message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}
{%- set has_marks = part['marks'] is not defined or part['marks'] -%}
{{- '<|begin_of_audio|>' if has_marks -}}
{%- for code in part['tokens'] -%}{{- '<|audio_' ~ code ~ '|>' -}}{%- endfor -%}
{{- '<|end_of_audio|>' if has_marks -}}
{%- else -%}
{{- (prefix if not part['continues']) ~ part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{{- '<|assistant|>' if add_generation_prompt else EOS -}}
"""


def our_template(vocabulary: Vocabulary) -> str:
    """Our template for a vocabulary."""
    return OURS.replace("PREFIX", json.dumps(vocabulary.text_prefix)).replace("EOS", json.dumps(vocabulary.eos_token))


def has_foreign_template(vocabulary: Vocabulary) -> bool:
    """Whether dialogues are written in a base model's chat template, not in the format of `lm.data.formats`."""
    return vocabulary.chat_template not in (None, our_template(vocabulary))


def chat_messages(
    turns: Sequence[ChatTurn], vocabulary: Vocabulary, *, system: str = "", format: ReplyFormat = TEXT_GUIDED
) -> list[dict[str, Any]]:
    """A dialogue as messages that our template turns into the ids of `lm.data.formats.chat_document`.

    A text that a streaming reply cuts within a word may be cut into other tokens when it is encoded again.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        said = turn.user if isinstance(turn.user, str) else _said(turn.user)
        reply: dict[str, Any] = {"role": "assistant", "content": _reply(turn, vocabulary, format)}
        if turn.transcript is not None and format.kind != "speech":
            reply["transcript"] = turn.transcript
        messages += [{"role": "user", "content": said}, reply]
    return messages


def _said(content: Codes | Sequence[str | Codes]) -> list[dict[str, Any]]:
    if isinstance(content, np.ndarray):
        return [_audio(content)]
    return [{"type": "text", "text": one} if isinstance(one, str) else _audio(one) for one in parted(content)]


def _reply(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat) -> str | list[dict[str, Any]]:
    if turn.speech is None and format.kind != "speech":
        return turn.reply
    return [_part(part, vocabulary) for part in reply_parts(turn, vocabulary, format)]


def _part(part: ReplyPart, vocabulary: Vocabulary) -> dict[str, Any]:
    if part.speech is not None:
        return _audio(part.speech) | ({} if part.has_marks else {"marks": False})
    text = vocabulary.decode_text(part.text)
    is_word = vocabulary.encode_text(text) == list(part.text)
    return {"type": "text", "text": text} | ({} if is_word else {"continues": True})


def _audio(codes: Any) -> dict[str, Any]:
    return {"type": "audio", "tokens": [int(code) for code in codes]}


def find_template(option: str, vocabulary: Vocabulary) -> str:
    """The template that ``option`` names ("" for none): ``auto``, ``speechweave``, ``none`` or a file.

    Raises:
        UserError: no such file.
    """
    if option == "none":
        return ""
    if option == "speechweave" or (option == "auto" and not vocabulary.chat_template):
        return our_template(vocabulary)
    if option == "auto":
        return str(vocabulary.chat_template)
    if not Path(option).is_file():
        remedy = "give auto, speechweave, none, or the path of a Jinja file"
        raise UserError("option chat_template", found=f"no file {option!r}", remedy=remedy)
    return Path(option).read_text(encoding="utf-8")
