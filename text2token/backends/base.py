"""Helpers of the backends that are engines of other projects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.artefact import read_json


def context_length(model: str) -> int:
    """Most tokens of a prompt and its continuation together, of an exported model's folder."""
    return int(read_json(Path(model) / "config.json")["max_position_embeddings"])


def finished_row(ids: Sequence[int], stop: Sequence[int], stopped_by: Any) -> list[int]:
    """New ids of a row with the stop id last, also where the engine leaves that out.

    Args:
        ids: what the engine gives.
        stop: ids that end a row.
        stopped_by: the stop id that ended it, None if the limit did.
    """
    has_ended = stopped_by in stop and (not ids or ids[-1] != stopped_by)
    return [*ids, int(stopped_by)] if has_ended else list(ids)


def select_gpu(device: str) -> None:
    """Make a ``cuda:N`` the only GPU that this process sees: engines take the first visible one."""
    if device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        number = int(device.removeprefix("cuda:"))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
