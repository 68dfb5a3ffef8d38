"""Judged correctness of an answer given references: GLM-4-Voice's appendix A.1 "Knowledge" prompt (2412.02612).

OpenAudioBench judges Web Questions and TriviaQA with the same prompt. The published text is the appendix's; the words
here are our own with the same fields, the same JSON reply and the same criterion.
"""

from __future__ import annotations

from evaluation.sets.item import EvaluationItem

from .judge_reply import json_object, majority, unjudged
from .measure import ItemScore, Measure
from .rule import Answered, JudgePrompt, Rule

TEMPLATE = """\
Decide whether an answer to a question is correct, given reference answers. It is correct if it expresses the same \
meaning as at least one of the reference answers; its format and tone do not matter.

[Question]
{instruction}

[Reference answers]
{targets}

[Answer to be judged]
{answer_to_be_judged}

Reply with one JSON object and nothing else:
{"analysis": "<one sentence>", "judgment": "correct" or "incorrect"}
"""
VERDICTS = {"correct": 1.0, "incorrect": 0.0}


def score(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where the majority of the readable judgements is "correct"; left out where none is readable."""
    if not answered.text.strip():
        return ItemScore({"accuracy": Measure(0.0)}, "empty answer")
    objects = [json_object(reply) for reply in answered.judgements]
    verdicts = [str(one.get("judgment", "")).strip().lower() for one in objects if one is not None]
    known = [verdict for verdict in verdicts if verdict in VERDICTS]
    if not known:
        return unjudged(answered.judgements)
    unreadable = len(answered.judgements) - len(known)
    return ItemScore({"accuracy": Measure(VERDICTS[majority(known)])}, unreadable=unreadable)


KNOWLEDGE = Rule(
    name="judge",
    score=score,
    judge=JudgePrompt(
        name="knowledge",
        template=TEMPLATE,
        fields=lambda item, text: {
            "instruction": item.prompt,
            "targets": "\n".join(item.references),
            "answer_to_be_judged": text,
        },
        parameters={"temperature": 0, "max_tokens": 256},
    ),
)
