"""Verifiable instructions in a row: ``instruction_id_list`` and ``kwargs``, the layout of IFEval."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from typing import Any

from evaluation.rules.instructions.table import CHECKERS
from evaluation.sets.rows import Row

Instructions = tuple[tuple[str, Mapping[str, Any]], ...]


def read_instructions(row: Row) -> Instructions:
    """The ids of a row with their arguments; arguments that are null (columns of a table that others fill) are none.

    Raises:
        ValueError: no list, an unknown id, or another number of arguments than of ids.
    """
    ids, arguments = (_parsed(row.values.get(name)) for name in ("instruction_id_list", "kwargs"))
    if not isinstance(ids, list | tuple) or not ids:
        raise ValueError(f"instruction_id_list is {ids!r}, no list of ids")
    if not isinstance(arguments, list | tuple) or len(arguments) != len(ids):
        raise ValueError(f"kwargs is {arguments!r}, no list of {len(ids)} sets of arguments")
    for id_ in ids:
        if id_ not in CHECKERS:
            near = difflib.get_close_matches(str(id_), CHECKERS, 1)
            raise ValueError(f"unknown instruction {id_!r}" + (f" (near: {near[0]})" if near else ""))
    return tuple((str(id_), _given(_parsed(one))) for id_, one in zip(ids, arguments, strict=True))


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _given(arguments: Any) -> dict[str, Any]:
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f"arguments {arguments!r} are no JSON object")
    return {
        str(name): list(value) if isinstance(value, tuple) else value
        for name, value in arguments.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }
