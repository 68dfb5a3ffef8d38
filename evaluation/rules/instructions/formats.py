"""Checkers of formats: paragraphs, lists, highlights, sections, JSON, titles, placeholders, postscripts."""

from __future__ import annotations

import json
import re

from .arguments import ArgumentError, Arguments
from .counting import is_chinese
from .keywords import RARE_WORDS

MOST_PARAGRAPHS, MOST_BULLETS, MOST_HIGHLIGHTS, MOST_SECTIONS, MOST_PLACEHOLDERS = 5, 5, 4, 5, 4
PARAGRAPH_BREAK = re.compile(r"\s?\*\*\*\s?")
BULLETS = (re.compile(r"^\s*\*[^\*].*$", re.MULTILINE), re.compile(r"^\s*-.*$", re.MULTILINE))
STARRED, DOUBLY_STARRED = re.compile(r"\*[^\n\*]*\*"), re.compile(r"\*\*[^\n\*]*\*\*")
PLACEHOLDER, CHINESE_PLACEHOLDER = re.compile(r"\[.*?\]"), re.compile(r"【.*?】")
TITLE, CHINESE_TITLE = re.compile(r"<<([^\n]+)>>"), re.compile(r"《([^\n]+)》")
FENCE = re.compile(r"^```(?:json)?\s*|\s*```$", re.IGNORECASE)
CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
# The set's Chinese wording is not published in words: these are the usual translations.
CHINESE_CHOICES = tuple(
    f"我的{noun}是{verdict}" for noun in ("答案", "回答") for verdict in ("是", "肯定", "否", "不是", "也许", "可能")
)
POSTSCRIPTS = {
    "P.S.": re.compile(r"p\.\s?s\."),
    "P.P.S": re.compile(r"p\.\s?p\.\s?s"),
}
LOOSE_POSTSCRIPT = re.compile(r"ps|p\.\s?s|p\.\s?p\.\s?s")
MARKERS, SPLITTERS = tuple(POSTSCRIPTS), ("Section", "SECTION")
WORD_ENDS = re.compile(r"[.,?!'\"]")


def number_paragraphs(text: str, arguments: Arguments) -> bool:
    """A number of paragraphs parted by ``***``; empty ones only at the ends."""
    parts = [part.strip() for part in PARAGRAPH_BREAK.split(text)]
    wanted = arguments.number("num_paragraphs", 1, MOST_PARAGRAPHS)
    return all(parts[1:-1]) and sum(map(bool, parts)) == wanted


def nth_paragraph_first_word(text: str, arguments: Arguments) -> bool:
    """A number of paragraphs parted by blank lines, and the first word of one of them.

    The published checkers count empty paragraphs when they look for the n-th, not when they count all.
    """
    paragraphs = [part.strip() for part in text.split("\n\n")]
    full = [part for part in paragraphs if part]
    wanted = arguments.number("num_paragraphs", 1, MOST_PARAGRAPHS)
    nth = arguments.number("nth_paragraph", 1, max(wanted, 1))
    first_word = arguments.text("first_word", RARE_WORDS).lower()
    counted = full if arguments.dialect == "default" else paragraphs
    if not 1 <= nth <= len(full) or not counted[nth - 1]:
        return False
    paragraph = counted[nth - 1]
    if arguments.dialect != "google" and is_chinese(paragraph):
        found = paragraph[: len(first_word)].lower()
    else:
        word = paragraph.split()[0].lstrip("'").lstrip('"')
        found = WORD_ENDS.split(word)[0].lower()
    return len(full) == wanted and found == first_word


def number_placeholders(text: str, arguments: Arguments) -> bool:
    """At least a number of placeholders in square brackets, for Chinese in 【】 too."""
    found = len(PLACEHOLDER.findall(text))
    if arguments.dialect != "google":
        found += len(CHINESE_PLACEHOLDER.findall(text))
    return found >= arguments.number("num_placeholders", 1, MOST_PLACEHOLDERS)


def postscript(text: str, arguments: Arguments) -> bool:
    """A postscript; for ``bilingual`` "ps" anywhere will do ("maps")."""
    marker, lowered = arguments.text("postscript_marker", MARKERS), text.lower()
    if arguments.dialect == "bilingual":
        return LOOSE_POSTSCRIPT.search(lowered) is not None or marker.lower() in lowered
    pattern = POSTSCRIPTS.get(marker)
    return pattern.search(lowered) is not None if pattern else marker.lower() in lowered


def number_bullet_lists(text: str, arguments: Arguments) -> bool:
    """Exactly a number of lines that begin with ``*`` (not ``**``) or ``-``."""
    found = sum(len(pattern.findall(text)) for pattern in BULLETS)
    return found == arguments.number("num_bullets", 1, MOST_BULLETS)


def constrained_response(text: str, arguments: Arguments) -> bool:
    """One of three answers."""
    choices = CHOICES if arguments.dialect == "google" else CHOICES + CHINESE_CHOICES
    return any(choice in text.strip() for choice in choices)


def number_highlighted_sections(text: str, arguments: Arguments) -> bool:
    """At least a number of parts between stars, single or double."""
    found = sum(bool(part.strip("*").strip()) for part in STARRED.findall(text))
    found += sum(bool(part[2:-2].strip()) for part in DOUBLY_STARRED.findall(text))
    return found >= arguments.number("num_highlights", 1, MOST_HIGHLIGHTS)


def multiple_sections(text: str, arguments: Arguments) -> bool:
    """At least a number of sections, each with a heading and a number."""
    heading = arguments.text("section_spliter", SPLITTERS).strip()
    found = len(re.findall(rf"\s?{re.escape(heading)}\s?\d+\s?", text))
    return found >= arguments.number("num_sections", 1, MOST_SECTIONS)


def json_format(text: str, arguments: Arguments) -> bool:
    """JSON, within fences or without."""
    try:
        json.loads(FENCE.sub("", text.strip()))
    except ValueError:
        return False
    return True


def title(text: str, arguments: Arguments) -> bool:
    """A title in double angular brackets, for Chinese in 《》 too."""
    found = TITLE.findall(text) if arguments.dialect == "google" else TITLE.findall(text) + CHINESE_TITLE.findall(text)
    return any(one.strip("<>《》").strip() for one in found)


def two_responses(text: str, arguments: Arguments) -> bool:
    """Two different answers parted by ``******``."""
    parts = [part.strip() for part in text.split("******")]
    full = [part for part in parts if part]
    return all(parts[1:-1]) and len(full) == 2 and full[0] != full[1]


def repeat_prompt(text: str, arguments: Arguments) -> bool:
    """The answer begins with the prompt."""
    if not arguments.values.get("prompt_to_repeat"):
        raise ArgumentError("prompt_to_repeat is missing")  # the published checker stops there, too
    return text.strip().lower().startswith(str(arguments.values["prompt_to_repeat"]).strip().lower())
