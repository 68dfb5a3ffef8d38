"""Reading of an evaluation set: its rows as items, bad ones counted, ids unique, everything digested."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from corpus.manifest import BadRecord, check_bad_share
from runtime.errors import UserError

from .item import EvaluationItem, EvaluationSet
from .rows import Row, read_rows

Chosen = TypeVar("Chosen")
ItemReader = Callable[[Row], EvaluationItem | None]  # None: the row belongs to another part; ValueError: it is bad


def read_set(
    name: str, source: Path | str, read_item: ItemReader, *, max_bad_share: float = 0.0, needs_audio: bool = False
) -> EvaluationSet:
    """Read a set.

    Args:
        name: of the benchmark.
        source: a file, or a folder of files.
        read_item: a row as an item.
        max_bad_share: share of the rows that may be bad; they are left out and counted.
        needs_audio: an item without audio is bad, and so is one whose audio cannot be decoded (all of it is tried).

    Raises:
        UserError: nothing there, no item, or too many bad rows (the first is named with its line).
    """
    items: list[EvaluationItem] = []
    bad: list[BadRecord] = []
    ids: set[str] = set()
    prompts: set[str] = set()
    repeated: list[str] = []
    for row in read_rows(source):
        if isinstance(row, BadRecord):
            bad.append(row)
            continue
        try:
            item = read_item(row)
            if item is None:
                continue
            if item.id in ids:
                raise ValueError(f"id {item.id!r} was used before")
            if needs_audio:
                if item.audio is None:
                    raise ValueError("no audio, which this direction needs")
                item.audio.read()
        except ValueError as error:
            bad.append(BadRecord(row.place, str(error)))
            continue
        ids.add(item.id)
        if item.prompt in prompts:
            repeated.append(item.id)
        prompts.add(item.prompt)
        items.append(item)
    check_bad_share(bad, len(items) + len(bad), max_bad_share)
    if not items:
        raise UserError(str(source), found=f"no item of {name}", remedy="give the folder that the set was saved to")
    return EvaluationSet(
        name=name,
        source=str(source),
        digest=set_digest(items),
        items=tuple(items),
        left_out=tuple(bad),
        repeated=tuple(repeated),
    )


def choose_items(found: EvaluationSet, limit: int, seed: int) -> EvaluationSet:
    """A seeded choice of ``limit`` items in the order of the set; all of them with 0."""
    items = choose_in_order(found.items, limit, f"evaluation set {seed}")
    return found if items is found.items else replace(found, items=items, digest=set_digest(items))


def choose_in_order(items: tuple[Chosen, ...], limit: int, seed: str) -> tuple[Chosen, ...]:
    """A seeded choice of ``limit`` items in their order; the same tuple where all are wanted, as with 0."""
    if not limit or limit >= len(items):
        return items
    kept = set(random.Random(seed).sample(range(len(items)), limit))
    return tuple(item for number, item in enumerate(items) if number in kept)


def set_digest(items: Iterable[EvaluationItem]) -> str:
    """A 16-digit digest of items: their texts, references, details and the bytes of their audio."""
    digest = hashlib.sha256()
    for item in items:
        fields = [item.id, item.prompt, item.subset, list(item.references), dict(item.details)]
        digest.update(json.dumps(fields, sort_keys=True, ensure_ascii=False, default=str).encode())
        if item.audio is not None:
            content = item.audio.content
            if content is None and item.audio.file is not None:
                content = item.audio.file.read_bytes()
            digest.update(hashlib.sha256(content or b"").digest())
    return digest.hexdigest()[:16]
