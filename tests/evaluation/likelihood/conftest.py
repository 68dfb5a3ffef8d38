"""A set of pairs in text and in codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.small_speech_model import CODES, TEXTS


def write_pairs(folder: Path, count: int, tokenizer: str = "", **changes: Any) -> Path:
    """A set of stories in text and in codes; ``changes`` are further columns of every row."""
    random = np.random.default_rng(3)
    rows = []
    for number in range(count):
        parts = {
            name: {
                "text": " ".join(random.choice(TEXTS[0].split(), random.integers(1, 9))),
                "tokens": random.integers(0, CODES, random.integers(1, 30)).tolist(),
            }
            for name in ("context", "correct", "incorrect")
        }
        rows.append({"id": f"p{number}", "subset": "ab"[number % 2], "tokenizer": tokenizer, **parts, **changes})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
