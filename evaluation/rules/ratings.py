"""Judged ratings: an LLM gives each answer a number; the published scales, statistics and request parameters.

The prompts' words are ours; their fields, scales and replies are the published ones:

  VoiceBench's open subsets     1 to 5, "score only", 3 samples, all scores averaged alike
  MT-Bench's single answer      1 to 10, [[n]] after an explanation (GLM-4-Voice's General QA, OpenAudioBench's Alpaca)
  OpenAudioBench's reasoning    1 to 5 by a Chinese rubric with a reference
  URO-Bench                     1 to 5, with references where the set has them, 3 samples
"""

from __future__ import annotations

from functools import partial

from evaluation.sets.item import EvaluationItem

from .judge_reply import rating, unjudged
from .measure import ItemScore, Measure
from .rule import Answered, JudgePrompt, Rule

EMPTY = "empty answer"
THREE_SAMPLES = {"temperature": 0.5, "top_p": 0.95, "n": 3, "max_tokens": 1024}
ONE_SAMPLE = {"temperature": 0, "top_p": 0.95, "max_tokens": 1024}
SYSTEM = "You are a helpful assistant who judges the answers of a speech assistant."

OPEN_TEMPLATE = """\
Rate the answer of a speech assistant on a scale from 1 to 5. Both texts may be transcripts: judge what is said, not \
how it is written.

1: irrelevant, wrong, or no answer to the instruction
2: related to it, of little help
3: relevant and partly helpful, with gaps or much beyond the point
4: relevant, accurate and mostly to the point
5: exceptionally relevant, accurate, complete and to the point

[Instruction]
{instruction}

[Response]
{response}

Reply with the score only.
"""
REFERENCE_TEMPLATE = """\
Rate the answer of a speech assistant on a scale from 1 to 5, given reference answers. Both texts may be transcripts: \
judge what is said, not how it is written.

1: irrelevant or wrong
2: related to the reference, mostly wrong or incomplete
3: partly right
4: right, with small errors or gaps
5: right and complete

[Instruction]
{instruction}

[Reference]
{reference}

[Response]
{response}

Reply with the score only.
"""
SINGLE_ANSWER_TEMPLATE = """\
Be an impartial judge of an assistant's answer to the question below. Consider its helpfulness, relevance, accuracy, \
depth, creativity and level of detail. Begin with a short explanation and be as objective as possible. Then rate the \
answer on a scale from 1 to 10, strictly in this format: "[[rating]]", for example: "Rating: [[5]]".

[Question]
{instruction}

[Answer]
{response}
"""
REASONING_TEMPLATE = """\
请根据参考答案，为语音助手的回答打分（1 到 5 分）。

1 分：与问题无关，或推理和结论都错误
2 分：与问题有关，但推理或结论大部分错误
3 分：部分正确
4 分：基本正确，推理有小的疏漏
5 分：推理和结论完全正确

【问题】
{instruction}

【参考答案】
{reference}

【回答】
{response}

请先简要说明理由，最后一行只写分数，格式为 [[分数]]。
"""


def score_rating(item: EvaluationItem, answered: Answered, low: float, high: float, samples: int) -> ItemScore:
    """All readable ratings of an answer, each with a weight of one; an empty answer has the lowest rating."""
    if not answered.text.strip():
        return ItemScore({"rating": Measure(low * samples, samples)}, EMPTY)
    ratings = [found for reply in answered.judgements if (found := rating(reply, low, high)) is not None]
    if not ratings:
        return unjudged(answered.judgements)
    unreadable = len(answered.judgements) - len(ratings)
    return ItemScore(
        {"rating": Measure(sum(ratings), len(ratings))}, details={"ratings": ratings}, unreadable=unreadable
    )


def rating_rule(name: str, prompt: JudgePrompt, low: float, high: float, scale: float = 1.0) -> Rule:
    """The rule of a rating prompt."""
    samples = int(prompt.parameters.get("n", 1))
    return Rule(
        name=name,
        score=partial(score_rating, low=low, high=high, samples=samples),
        headline="rating",
        scale=scale,
        judge=prompt,
    )


def _with_reference(item: EvaluationItem, text: str) -> dict[str, str]:
    return {"instruction": item.prompt, "reference": " / ".join(item.references), "response": text}


def _without_reference(item: EvaluationItem, text: str) -> dict[str, str]:
    return {"instruction": item.prompt, "response": text}


OPEN_PROMPT = JudgePrompt(
    name="open 1-5", template=OPEN_TEMPLATE, fields=_without_reference, system=SYSTEM, parameters=THREE_SAMPLES
)
REFERENCE_PROMPT = JudgePrompt(
    name="reference 1-5", template=REFERENCE_TEMPLATE, fields=_with_reference, system=SYSTEM, parameters=THREE_SAMPLES
)
SINGLE_ANSWER_PROMPT = JudgePrompt(
    name="single answer 1-10", template=SINGLE_ANSWER_TEMPLATE, fields=_without_reference, parameters=ONE_SAMPLE
)
REASONING_PROMPT = JudgePrompt(
    name="reasoning 1-5, zh", template=REASONING_TEMPLATE, fields=_with_reference, parameters=ONE_SAMPLE
)
OPEN = rating_rule("open", OPEN_PROMPT, 1, 5)
SEMI_OPEN = rating_rule("semi_open", REFERENCE_PROMPT, 1, 5)
SINGLE_ANSWER = rating_rule("single_answer", SINGLE_ANSWER_PROMPT, 1, 10)
REASONING = rating_rule("reasoning", REASONING_PROMPT, 1, 5, scale=20)
