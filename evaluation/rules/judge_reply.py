"""Reading of a judge's raw replies: JSON objects and majorities; an unreadable reply is invalid, never a zero."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

FENCE = re.compile(r"^```[a-z]*\s*|\s*```$", re.IGNORECASE)
OBJECT = re.compile(r"\{.*\}", re.DOTALL)


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


def majority(values: Sequence[Any]) -> Any:
    """The most frequent value; the first of those that are equally frequent. None of nothing."""
    return Counter(values).most_common(1)[0][0] if values else None
