"""Semantic classes of written text: one ordered table finds what is to be read, before anything is rewritten.

A row is a class: a regular expression with guards, and its reading. All rows look at the text as it was written, the
most specific first; what one has claimed is closed to the rows below, and no reading is read again. So a rule cannot
eat a part of what another needs ("$5M" is an amount before "5M" is a number, "2.4.1" a version before "2.4" is one).
A token with digits or symbols that no row claims is unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import regex

Reading = Callable[[re.Match[str]], str | None]
DIGIT = re.compile("[0-9]")
# Beside digits: signs of arithmetic and money, emoji, and the marks that stand for words.
UNREAD = regex.compile(r"[\p{Nd}\p{No}\p{Nl}\p{Sm}\p{Sc}\p{So}%‰@#&^]")
TOKEN = r"[^\s\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff，。！？；：、（）“”‘—…,;()\[\]\"]"
TOKEN_BEFORE, TOKEN_AFTER = re.compile(rf"{TOKEN}*\Z"), re.compile(rf"{TOKEN}*")
LONGEST_TOKEN = 100
SPELT_PART = regex.compile(r"[0-9]|\p{Lu}{2,}|[\p{L}\p{M}]+|\s+|.", regex.DOTALL)
FULL_WIDTH = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]}
    | {"％": "%", "＄": "$", "＋": "+", "－": "-", "＝": "=", "￥": "¥", "￡": "£", "．": "."}
)


class SemanticClass(NamedTuple):
    """One row of a table of classes.

    Attributes:
        name: of the class.
        pattern: finds it, guards included.
        read: the reading of a match; None where the match is not of this class after all.
        needs_digit: whether a text without a digit cannot hold it.
        needs: characters; a text without any of them cannot hold it ("" where that says nothing).
    """

    name: str
    pattern: re.Pattern[str]
    read: Reading
    needs_digit: bool = True
    needs: str = ""


def row(needs: str, name: str, pattern: str, read: Reading, needs_digit: bool = True) -> SemanticClass:
    """A `SemanticClass` of a regular expression as it is written."""
    return SemanticClass(name, re.compile(pattern), read, needs_digit, needs)


class Range(NamedTuple):
    """Characters ``start`` to ``end`` of the text as it was written."""

    start: int
    end: int


@dataclass(frozen=True)
class SpokenForm:
    """A text as it is read aloud.

    Attributes:
        text: everything in words that a class reads; unread tokens as they were written.
        unread: the tokens with digits or symbols that no class reads, as ranges of the written text.
        spelt_out: ``text`` with the unread tokens spelt out, for who must say something.
        claimed: the ranges of the written text that are read as one; none may be cut.
    """

    text: str
    unread: tuple[Range, ...] = ()
    spelt_out: str = ""
    claimed: tuple[Range, ...] = ()


class PrintedText(NamedTuple):
    """A text in the case of print.

    Attributes:
        text: as long as it was written, place for place.
        capitals: the sentences that were in capitals throughout.
    """

    text: str
    capitals: tuple[Range, ...] = ()


class _Claim(NamedTuple):
    start: int
    end: int
    reading: str


def read_classes(
    text: str,
    classes: Sequence[SemanticClass],
    spell: Callable[[str], str],
    ends_sentence: Callable[[str, int], bool],
    in_print: Callable[[str], PrintedText] | None = None,
) -> SpokenForm:
    """Read a text by a table of classes.

    Args:
        text: as it was written.
        classes: in order, the most specific first.
        spell: spells an unread stretch out.
        ends_sentence: whether the full stop before a position also ends a sentence, and is kept.
        in_print: gives the case that the classes are written for; readings in a sentence of capitals are capitals too.
    """
    text = text.translate(FULL_WIDTH)
    printed = in_print(text) if in_print else PrintedText(text)
    claims = _claims(printed.text, classes, ends_sentence)
    unread = _unread_tokens(text, claims)
    said: list[str] = []
    spelt: list[str] = []
    claims = [one for one in claims if not any(token.start <= one.start < token.end for token in unread)]
    at = 0
    for start, end, reading in sorted([*claims, *(_Claim(*token, "") for token in unread)]):
        is_unread = (start, end) in unread
        in_words = spell(printed.text[start:end]) if is_unread else reading
        if any(sentence.start <= start < sentence.end for sentence in printed.capitals):
            in_words = in_words.upper()
        said += [text[at:start], text[start:end] if is_unread else in_words]
        spelt += [text[at:start], in_words]
        at = end
    said.append(text[at:])
    spelt.append(text[at:])
    claimed = tuple(Range(claim.start, claim.end) for claim in claims)
    return SpokenForm("".join(said), tuple(unread), "".join(spelt), claimed)


def _claims(text: str, classes: Sequence[SemanticClass], ends_sentence: Callable[[str, int], bool]) -> list[_Claim]:
    """The claims of the classes, in the order of the text."""
    claims: list[_Claim] = []
    taken = bytearray(len(text))
    has_digit = DIGIT.search(text) is not None
    characters = set(text)
    for one in classes:
        if (one.needs_digit and not has_digit) or (one.needs and characters.isdisjoint(one.needs)):
            continue
        at = 0
        while found := one.pattern.search(text, at):
            start, end = found.span()
            clash = taken.find(1, start, end)
            if clash >= 0:
                at = clash + 1
                continue
            reading = one.read(found)
            if reading is None or start == end:
                at = start + 1
                continue
            if (
                text[end - 1] == "."
                and text[end : end + 1].isspace()
                and not reading.endswith(".")
                and ends_sentence(text, end)
            ):
                reading += "."
            claims.append(_Claim(start, end, reading))
            taken[start:end] = b"\1" * (end - start)
            at = end
    return sorted(claims)


def _unread_tokens(text: str, claims: Sequence[_Claim]) -> list[Range]:
    """The tokens with unread characters outside the claims, whole; a claim that begins within one is given up."""
    tokens: list[Range] = []
    gaps = zip([0, *(claim.end for claim in claims)], [*(claim.start for claim in claims), len(text)], strict=True)
    for start, stop in gaps:
        at = max(start, tokens[-1].end) if tokens else start
        while at < stop and (found := UNREAD.search(text, at, stop)):
            first, last = found.span()
            lowest = max(tokens[-1].end if tokens else 0, first - LONGEST_TOKEN)
            before, after = TOKEN_BEFORE.search(text, lowest, first), TOKEN_AFTER.match(text, last)
            token = Range(before.start() if before else first, after.end() if after else last)
            stop_mark = len(text[token.start : token.end].rstrip(".!?:'’"))
            token = Range(token.start, max(last, token.start + stop_mark))
            for claim in claims:
                if claim.start < token.start < claim.end:  # a claim of several words that began before stays
                    token = Range(claim.end, token.end)
                elif token.start <= claim.start < token.end < claim.end:
                    token = Range(token.start, claim.end)
            tokens.append(token)
            at = tokens[-1].end
    return tokens


def alternatives(names: Iterable[str]) -> str:
    """Names as alternatives of a regular expression, the longest first."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True))


def spell_out(text: str, digits: Sequence[str], symbols: dict[str, str], space: str) -> str:
    """A token said part by part: digits and capitals one by one, words as they are, symbols by name or not at all."""
    said: list[str] = []
    for part in SPELT_PART.findall(text):
        if part in "0123456789":
            said.append(digits[int(part)])
        elif part.isupper() and len(part) > 1:
            said.append(" ".join(part))
        elif part in symbols:
            said.append(symbols[part])
        elif part.isalpha() or not UNREAD.match(part):
            said.append(part)
        elif regex.match(r"\p{N}", part):
            said.append(part)  # a digit of another script
    joined = space.join(one for one in said if not one.isspace())
    return re.sub(r"\s+([,;:!?)\]\"'”’]+)(?=\s|$)", r"\1", joined)
