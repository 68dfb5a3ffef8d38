"""Every number of a recipe is a paper's, or says that it is our choice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

RECIPES = Path("recipes")
MARK = re.compile(r"\[paper\b[^\]]*\]|our choice")
ALL_OURS = re.compile(r"every number\b.*\bour choice", re.IGNORECASE | re.DOTALL)
# Presets of the papers: here it is not enough that the head of the file says it.
OF_PAPERS = {"9b", "1.5b", "chat_9b", "speech_paper", "text2token_1.5b", "synthesis"}
OF_PAPERS |= {"tokenizer_paper", "tokenizer_released", "decoder_paper", "vocoder_22k", "inserter_7b"}


def unmarked(text: str, *, is_head_enough: bool) -> list[str]:
    """Lines of numbers without a mark: on the line, on or over a key that the number is below, or in the head."""
    lines = text.splitlines()
    if is_head_enough and ALL_OURS.search("\n".join(block_of_comments(lines, 0))):
        return []
    document = yaml.compose(text)
    found = {place: lines[place] for place, keys in numbers(document, ()) if not is_marked(lines, {place, *keys})}
    return [f"{place + 1}: {line.strip()}" for place, line in sorted(found.items())]


def numbers(node: yaml.Node, keys: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The lines of numbers, each with the lines of the keys that it is below."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from numbers(value, (*keys, key.start_mark.line))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from numbers(value, keys)
    elif node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        yield node.start_mark.line, keys


def is_marked(lines: list[str], places: set[int]) -> bool:
    for place in places:
        over = place
        while over and lines[over - 1].lstrip().startswith("#"):
            over -= 1
        if MARK.search("\n".join([*lines[over:place], lines[place].partition("#")[2]])):
            return True
    return False


def block_of_comments(lines: list[str], start: int) -> list[str]:
    stop = start
    while stop < len(lines) and lines[stop].startswith("#"):
        stop += 1
    return lines[start:stop]


@pytest.mark.parametrize("file", sorted(RECIPES.rglob("*.yaml")), ids=lambda file: str(file.relative_to(RECIPES)))
def test_every_number_is_the_papers_or_our_choice(file: Path) -> None:
    assert unmarked(file.read_text(encoding="utf-8"), is_head_enough=file.stem not in OF_PAPERS) == []


def test_presets_of_papers_are_there() -> None:
    assert {name for name in OF_PAPERS if not (RECIPES / f"{name}.yaml").is_file()} == set()


def test_a_number_without_a_mark_is_found() -> None:
    text = (
        "# Every number here is our choice.\n\na: 1  # [paper: one]\nb: {c: 2}\n# our choice\nd:\n  e: [3, 4]\nf: x1\n"
    )
    assert unmarked(text, is_head_enough=False) == ["4: b: {c: 2}"]
    assert unmarked(text, is_head_enough=True) == []
