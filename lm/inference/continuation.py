"""Continuation of one prompt, given as text or speech codes in the format of a task, printed or as JSON."""

from __future__ import annotations

import json

import numpy as np

from lm.data.formats import asr_prompt, speech_span, tts_prompt
from lm.data.rendering import render
from lm.data.reply_format import ReplyFormat
from lm.data.request_format import generation_end_ids, request_format
from lm.data.vocabulary import Ids, Vocabulary
from runtime.errors import UserError

from .hf_generation import TransformersGenerator


def print_continuation(
    model: str,
    *,
    task: str,
    text: str,
    speech: str,
    speaker: str,
    allowed: str | None,
    has_marks: bool,
    reply: ReplyFormat | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    dtype: str,
    device: str,
    is_json: bool,
) -> None:
    """Continue a prompt and print it; the arguments are the options of `lm.generate`."""
    generator = TransformersGenerator.from_pretrained(model, dtype=dtype, device=device)
    vocabulary = generator.vocabulary
    prompt = make_prompt(task, text, speech, speaker, vocabulary, has_marks=has_marks)
    (ids,) = generator.generate(
        [prompt],
        max_new_tokens=max_new_tokens,
        stop=generation_end_ids(vocabulary),
        allowed=allowed or ("text" if task == "asr" else "any"),
        has_marks=has_marks,
        reply=reply,
        transcribes=bool(speech),
        temperature=temperature,
        top_p=top_p,
        seeds=[seed],
    )
    if is_json:
        answer = {"ids": ids.tolist(), "text": vocabulary.decode_text(ids), "codes": vocabulary.codes(ids).tolist()}
        print(json.dumps(answer | {"prompt": prompt.tolist()}))
    else:
        print(render(prompt, vocabulary, num_shown=8))
        print("->", render(ids, vocabulary, num_shown=8))


def make_prompt(
    task: str, text: str, speech: str, speaker: str, vocabulary: Vocabulary, *, has_marks: bool = True
) -> Ids:
    """The prompt of a task.

    Args:
        task: ``continue``, ``asr``, ``tts`` or ``chat``.
        text: of the prompt.
        speech: codes of the speech tokenizer, separated by spaces.
        speaker: voice of ``tts`` ("" = the vocabulary's first).
        vocabulary: of the ids.
        has_marks: whether speech that is continued has marks around it.

    Raises:
        UserError: neither text nor speech where one is needed, or codes that are none.
    """
    try:
        spoken = vocabulary.speech_ids(np.array([int(word) for word in speech.split()], dtype=np.int64))
    except ValueError as error:
        remedy = f"give numbers from 0 to {vocabulary.num_speech_tokens - 1}, separated by spaces"
        raise UserError("option speech", found=str(error), remedy=remedy) from error
    given = {"text": bool(text), "speech": bool(len(spoken))}
    needed = {"asr": "speech", "tts": "text"}.get(task, "")
    if (needed and not given[needed]) or not any(given.values()):
        found = f"no {needed or 'text and no speech'} for {task}"
        raise UserError("the prompt", found=found, remedy=f"add --{needed or 'text'} ...")
    codes = vocabulary.codes(spoken)
    if task == "asr":
        return asr_prompt(codes, vocabulary)
    if task == "tts":
        return tts_prompt(text, speaker or next(iter(vocabulary.speakers), ""), vocabulary)
    if task == "chat":
        return request_format(vocabulary).prompt(codes if given["speech"] else text)
    ids = np.array(vocabulary.encode_text(text) if text else [], dtype=np.int32)
    if not given["speech"]:
        return ids
    return np.concatenate([ids, speech_span(codes, vocabulary) if has_marks else spoken.astype(np.int32)])
