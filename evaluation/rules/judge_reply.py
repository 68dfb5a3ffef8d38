"""Reading of a judge's raw replies: JSON objects, ratings, lists of yes and no, majorities.

An unreadable reply is invalid, never a zero.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .measure import ItemScore

FENCE = re.compile(r"^```[a-z]*\s*|\s*```$", re.IGNORECASE)
OBJECT = re.compile(r"\{.*\}", re.DOTALL)
BRACKETED = re.compile(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*\]\]")
LEADING = re.compile(r"^\W*?(?:(?:score|rating|评分|得分|分数)\W*?)?(-?\d+(?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE)
LIST = re.compile(r"\[([^\[\]]*)\]")
YES_OR_NO = re.compile(r"\b(YES|NO)\b", re.IGNORECASE)

NO_JUDGEMENT, UNREADABLE = "no judgement", "unreadable judgement"


def json_object(reply: str) -> dict[str, Any] | None:
    """The JSON object of a reply, within fences or prose; None where there is none."""
    found = OBJECT.search(FENCE.sub("", reply.strip()))
    if found is None:
        return None
    try:
        value = json.loads(found[0])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def rating(reply: str, low: float, high: float) -> float | None:
    """The rating of a reply: ``[[n]]`` (the last one), or a number that it begins with; None outside of the scale."""
    bracketed = BRACKETED.findall(reply)
    leading = LEADING.match(reply.strip())
    found = bracketed[-1] if bracketed else leading[1] if leading else None
    value = None if found is None else float(found)
    return value if value is not None and low <= value <= high else None


def verdict_list(reply: str) -> list[bool]:
    """The YES and NO of the first list in a reply that has any; empty where there is none."""
    for found in LIST.findall(reply):
        verdicts = [word.upper() == "YES" for word in YES_OR_NO.findall(found)]
        if verdicts:
            return verdicts
    return []


def majority(values: Sequence[Any]) -> Any:
    """The most frequent value; the first of those that are equally frequent. None of nothing."""
    return Counter(values).most_common(1)[0][0] if values else None


def unjudged(judgements: Sequence[str]) -> ItemScore:
    """The score of an item without a readable judgement: it is left out of all means, with a note."""
    return ItemScore({}, UNREADABLE if judgements else NO_JUDGEMENT, unreadable=len(judgements))
