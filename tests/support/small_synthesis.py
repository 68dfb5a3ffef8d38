"""A small bulk synthesis: made-up texts, the command's words, and the bytes of its units."""

from __future__ import annotations

import json
import random
from pathlib import Path

WIDE = ["gate.min_per_letter=0", "gate.min_distinct_share=0", "max_rejected_share=1", "unit_documents=4", "passes=2"]


def write_texts(path: Path, count: int, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    vocabulary = ["the", "capital", "of", "france", "is", "paris", "a", "lion", "sleeps", "in", "cat", "likes", "ball"]
    texts = []
    for _ in range(count):
        sentences = [" ".join(draw.choices(vocabulary, k=draw.randint(1, 12))) for _ in range(draw.randint(1, 4))]
        texts.append(". ".join(sentences) + ".")
    rows = [json.dumps({"id": f"{path.stem}-{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(rows) + "\n")
    return texts


def words(tmp_path: Path, model_folder: Path, out: str, *more: str) -> list[str]:
    if not (tmp_path / "texts.jsonl").exists():
        write_texts(tmp_path / "texts.jsonl", 22)
        write_texts(tmp_path / "heldout.jsonl", 5, seed=9)
    sources = [f"texts={tmp_path / 'texts.jsonl'}", f"texts_heldout={tmp_path / 'heldout.jsonl'}"]
    return [*sources, f"model={model_folder}", f"out={tmp_path / out}", *WIDE, *more]


def unit_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
