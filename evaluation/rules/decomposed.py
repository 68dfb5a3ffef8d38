"""Judged instruction following: open requests by decomposed questions, and requests that the talker corrects.

SpeechInstructBench's open and adjustment tasks (2503.02769). The prompts' words are ours; fields, replies, number of
samples and statistics are the published ones: four judgements, the mode of each verdict.
"""

from __future__ import annotations

import json
from itertools import zip_longest

from evaluation.sets.item import EvaluationItem

from .judge_reply import json_object, majority, unjudged, verdict_list
from .measure import ItemScore, Measure
from .rule import Answered, JudgePrompt, Rule

EMPTY = "empty answer"
FOUR_SAMPLES = {"temperature": 0.5, "top_p": 0.95, "n": 4, "max_tokens": 1024}
SYSTEM = "You are a helpful assistant who judges answers to spoken instructions."

QUESTIONS_TEMPLATE = """\
An assistant was given an instruction. Decide for each question whether its answer fulfils what the question asks for.

[Instruction]
{prompt}

[Answer]
{response}

[Questions]
{questions}

Reply with one list of {count} entries, in the order of the questions, each YES or NO, and nothing else, such as \
[YES, NO].
"""
ADJUSTMENT_TEMPLATE = """\
A talker gives an assistant an instruction and corrects it while speaking. Judge the assistant's answer.

[Instruction]
{prompt}

[Answer]
{response}

Does the answer follow the instruction as corrected? Does it follow the instruction as it was before the correction? \
Is its content right for the corrected instruction?
Reply with one JSON object and nothing else:
{"follow_after_adjust": "YES" or "NO", "follow_before_adjust": "YES" or "NO", \
"after_adjust_content_correct": "YES" or "NO"}
"""
YES_AND_NO = ("YES", "NO")
AFTER, BEFORE, CONTENT = "follow_after_adjust", "follow_before_adjust", "after_adjust_content_correct"


def score_questions(item: EvaluationItem, answered: Answered) -> ItemScore:
    """P: all decomposed questions YES; I: share of YES. Of the lists, those of maximal length count.

    By default a list of another length than that of the questions is unreadable; the published script takes it.
    """
    questions = item.details["decomposed_questions"]
    if not answered.text.strip():
        return ItemScore({"P": Measure(0.0), "I": Measure(0.0, len(questions))}, EMPTY)
    lists = [found for reply in answered.judgements if (found := verdict_list(reply))]
    if answered.compat == "default":
        lists = [found for found in lists if len(found) == len(questions)]
    longest = max(map(len, lists), default=0)
    whole = [found for found in lists if len(found) == longest]
    verdicts = [majority(column) for column in zip_longest(*whole)]
    if not verdicts:
        return unjudged(answered.judgements)
    measures = {"P": Measure(float(all(verdicts))), "I": Measure(sum(verdicts), len(verdicts))}
    return ItemScore(measures, details={"verdicts": verdicts}, unreadable=len(answered.judgements) - len(whole))


def score_adjustment(item: EvaluationItem, answered: Answered) -> ItemScore:
    """IAR: the corrected instruction is followed with right content; ECR: the one before is (lower is better)."""
    if not answered.text.strip():
        return ItemScore({"IAR": Measure(0.0), "ECR": Measure(0.0)}, EMPTY)
    objects = [json_object(reply) or {} for reply in answered.judgements]
    said = {name: [str(one.get(name, "")).strip().upper() for one in objects] for name in (AFTER, BEFORE, CONTENT)}
    verdicts = {name: majority([word for word in words if word in YES_AND_NO]) for name, words in said.items()}
    unreadable = sum(any(word not in YES_AND_NO for word in words) for words in zip(*said.values(), strict=True))
    if None in verdicts.values():
        return unjudged(answered.judgements)
    follows = verdicts[AFTER] == verdicts[CONTENT] == "YES"
    measures = {"IAR": Measure(float(follows)), "ECR": Measure(float(verdicts[BEFORE] == "YES"))}
    return ItemScore(measures, details=verdicts, unreadable=unreadable)


DECOMPOSED = Rule(
    name="open",
    score=score_questions,
    headline="P",
    has_official=True,
    judge=JudgePrompt(
        name="decomposed questions",
        template=QUESTIONS_TEMPLATE,
        fields=lambda item, text: {
            "prompt": item.prompt,
            "response": text,
            "questions": "\n".join(
                f"{number}. {question}" for number, question in enumerate(item.details["decomposed_questions"], 1)
            ),
            "count": json.dumps(len(item.details["decomposed_questions"])),
        },
        system=SYSTEM,
        parameters=FOUR_SAMPLES,
    ),
)
ADJUSTMENT = Rule(
    name="adjustment",
    score=score_adjustment,
    headline="IAR",
    judge=JudgePrompt(
        name="adjustment",
        template=ADJUSTMENT_TEMPLATE,
        fields=lambda item, text: {"prompt": item.prompt, "response": text},
        system=SYSTEM,
        parameters=FOUR_SAMPLES,
    ),
)
