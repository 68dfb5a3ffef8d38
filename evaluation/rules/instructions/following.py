"""Instruction following of an answer: strict and loose, by prompt and by instruction (IFEval, 2311.07911).

An item's details hold ``instructions``: pairs of an id and its arguments. Strict looks at the answer as it is; loose
passes an instruction where any of eight variants does: whole, without its first line, its last, or both, each as it is
and without ``*``. Measures of an item with n instructions:

  strict_prompt, loose_prompt              1 where all instructions are followed
  strict_instruction, loose_instruction    followed ones of n
  P, I                                     means of strict and loose (SpeechInstructBench's columns)
  mean (over a set)                        of the first four means (VoiceBench's score)
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import partial

from evaluation.rules.measure import ItemScore, MeanScore, Measure
from evaluation.rules.rule import Answered, Rule
from evaluation.sets.item import EvaluationItem

from .arguments import ArgumentError, Arguments, Dialect
from .table import CHECKERS

MARKS = re.compile(r"^\s*(?:<[123]>\s*)+")
FOUR = ("strict_prompt", "strict_instruction", "loose_prompt", "loose_instruction")
DRAWN, UNCHECKED, EMPTY = "argument drawn at random", "instruction without its argument", "empty answer"


def loose_variants(text: str) -> list[str]:
    """The eight variants."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return cut + [variant.replace("*", "") for variant in cut]


def score_following(item: EvaluationItem, answered: Answered, official: Dialect) -> ItemScore:
    """All measures of an answer; an instruction that cannot be checked leaves its item out."""
    is_official = answered.compat == "official"
    dialect: Dialect = official if is_official else "default"
    text = MARKS.sub("", answered.text) if is_official else answered.text
    strict, loose, drawn = list[bool](), list[bool](), list[str]()
    for number, (id_, values) in enumerate(item.details["instructions"]):
        draw = partial(_draw, answered, item, f"{number} {id_}") if is_official else None
        followed: Callable[[str], bool] = partial(_is_followed, id_, Arguments(values, dialect, draw, drawn))
        try:
            strict.append(followed(text))
            loose.append(any(map(followed, loose_variants(text))))
        except ArgumentError as error:
            return ItemScore({}, UNCHECKED, {"instruction": id_, "reason": str(error)})
    note = DRAWN if drawn else "" if answered.text.strip() else EMPTY
    return ItemScore(following_measures(strict, loose), note, {"strict": strict, "loose": loose})


def _draw(answered: Answered, item: EvaluationItem, instruction: str, name: str) -> random.Random:
    return answered.draw(item, f"{instruction} {name}")


def _is_followed(id_: str, arguments: Arguments, text: str) -> bool:
    # Checked also where the text is empty: an instruction without its argument is found whatever was answered.
    is_held = CHECKERS[id_](text, arguments)
    return bool(text.strip()) and is_held


def following_measures(strict: list[bool], loose: list[bool]) -> dict[str, Measure]:
    """Measures of the instructions of one item."""
    prompts = [float(all(one)) for one in (strict, loose)]
    counts, size = [sum(one) for one in (strict, loose)], len(strict)
    return {
        "strict_prompt": Measure(prompts[0]),
        "loose_prompt": Measure(prompts[1]),
        "strict_instruction": Measure(counts[0], size),
        "loose_instruction": Measure(counts[1], size),
        "P": Measure(sum(prompts) / 2),
        "I": Measure(sum(counts) / 2, size),
    }


def mean_of_four(means: Mapping[str, MeanScore]) -> dict[str, float]:
    """VoiceBench's score."""
    return {"mean": sum(means[name].micro for name in FOUR) / len(FOUR)} if means else {}


def same_prompt(item: EvaluationItem) -> str:
    """Under this key the published scripts keep answers: of items with one prompt the last one's answer counts."""
    return f"{item.subset}\n{item.prompt}"


def following_rule(official: Dialect) -> Rule:
    """The rule, with the dialect of the published script."""
    return Rule(
        name="instructions",
        score=partial(score_following, official=official),
        headline="P",
        has_official=True,
        normaliser="sentences by our splitter, not punkt; languages by langdetect, seeded",
        combine=mean_of_four,
        answer_key=same_prompt,
    )


IFEVAL = following_rule("google")
BILINGUAL = following_rule("bilingual")
