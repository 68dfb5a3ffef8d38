"""Judged correctness given a reference: the yes-or-no forms of VoiceBench, OpenAudioBench and Big Bench Audio.

The prompts' words are ours; fields, replies and statistics are the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from evaluation.sets.item import EvaluationItem

from .judge_reply import json_object, majority, unjudged
from .measure import ItemScore, Measure
from .ratings import ONE_SAMPLE, SYSTEM, THREE_SAMPLES
from .rule import Answered, JudgePrompt, Rule

EMPTY = "empty answer"
YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
SCORE_IS = re.compile(r"score is\W*(correct|incorrect)\b", re.IGNORECASE)

YES_NO_TEMPLATE = """\
Is the candidate answer to the question right, given the reference answer? Both may be transcripts of speech.

[Question]
{question}

[Reference]
{reference}

[Candidate]
{response}

Reply with a single "Yes" or "No" and nothing else.
"""
SCORE_IS_TEMPLATE = """\
Decide whether an answer to a question is correct, given the reference answer. Its wording, format and tone do not \
matter.

[Question]
{question}

[Reference]
{reference}

[Answer]
{response}

Explain in one sentence, and end with: the score is [Correct], or: the score is [Incorrect].
"""
RESULT_TEMPLATE = """\
Compare the final answer of an assistant with the official answer to a reasoning problem. Only what the assistant \
finally concludes counts; wording and format do not.

[Problem]
{question}

[Official answer]
{reference}

[Assistant]
{response}

Reply with one JSON object and nothing else: {"result": "CORRECT" or "INCORRECT"}
"""


def read_yes_no(reply: str, compat: str) -> bool | None:
    """A reply that begins with yes or no; officially any reply but exactly "yes" is a no."""
    if compat == "official":
        return reply.strip().lower() == "yes"
    found = YES_NO.match(reply)
    return None if found is None else found[1].lower() == "yes"


def read_score_is(reply: str, compat: str) -> bool | None:
    """A reply with "the score is [Correct]"; the last one counts."""
    found = SCORE_IS.findall(reply)
    return found[-1].lower() == "correct" if found else None


def read_result(reply: str, compat: str) -> bool | None:
    """A reply with ``{"result": "CORRECT"}``."""
    word = str((json_object(reply) or {}).get("result", "")).strip().upper()
    return {"CORRECT": True, "INCORRECT": False}.get(word)


Reader = Callable[[str, str], bool | None]


def score_verdict(item: EvaluationItem, answered: Answered, read: Reader) -> ItemScore:
    """1 where the majority of the readable verdicts is right (of two alike the first)."""
    if not answered.text.strip():
        return ItemScore({"accuracy": Measure(0.0)}, EMPTY)
    read_ones = [read(reply, answered.compat) for reply in answered.judgements]
    verdicts = [verdict for verdict in read_ones if verdict is not None]
    if not verdicts:
        return unjudged(answered.judgements)
    unreadable = len(read_ones) - len(verdicts)
    return ItemScore(
        {"accuracy": Measure(float(majority(verdicts)))}, details={"verdicts": verdicts}, unreadable=unreadable
    )


def _fields(item: EvaluationItem, text: str) -> dict[str, str]:
    return {"question": item.prompt, "reference": " / ".join(item.references), "response": text}


YES_NO_JUDGE = Rule(
    name="qa",
    score=partial(score_verdict, read=read_yes_no),
    has_official=True,
    judge=JudgePrompt(
        name="yes or no", template=YES_NO_TEMPLATE, fields=_fields, system=SYSTEM, parameters=THREE_SAMPLES
    ),
)
SCORE_IS_JUDGE = Rule(
    name="score_is",
    score=partial(score_verdict, read=read_score_is),
    judge=JudgePrompt(name="the score is", template=SCORE_IS_TEMPLATE, fields=_fields, parameters=ONE_SAMPLE),
)
RESULT_JUDGE = Rule(
    name="result",
    score=partial(score_verdict, read=read_result),
    judge=JudgePrompt(name="result", template=RESULT_TEMPLATE, fields=_fields, parameters=ONE_SAMPLE),
)
