"""The Jinja chat template of an exported model: which one, and ours, which writes `lm.formats`' dialogues.

A message's content is a text, or a list of parts: ``{"type": "text", "text": ...}`` and ``{"type": "audio", "tokens":
[12, 407, ...]}`` (codes of the speech tokenizer). Contents that begin with a special token are taken as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

from corpus.errors import UserError

from .vocabulary import Vocabulary

OURS = """\
{%- set prefix = PREFIX -%}
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' -}}
{%- if message['content'] is string -%}
{{- message['content'] if message['content'].startswith('<|') else prefix + message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}
{{- '<|begin_of_audio|>' -}}
{%- for code in part['tokens'] -%}{{- '<|audio_' ~ code ~ '|>' -}}{%- endfor -%}
{{- '<|end_of_audio|>' -}}
{%- else -%}
{{- prefix + part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{{- '<|assistant|>' if add_generation_prompt else EOS -}}
"""


def our_template(vocabulary: Vocabulary) -> str:
    """Our template for a vocabulary."""
    return OURS.replace("PREFIX", json.dumps(vocabulary.text_prefix)).replace("EOS", json.dumps(vocabulary.eos_token))


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
