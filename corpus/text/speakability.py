"""Unspeakable parts of texts: code, addresses, tables, formulas, mark-up, which spans of speech must avoid.

Cleaning texts by rules before they are spoken is InSerter's idea (2503.02769); the rules are our own. A rule is a
regular expression; its matches, and every word they touch, stay text. Rules err on the side of text.
"""

from __future__ import annotations

import re

NUMBER = r"[-+−]?\d+(?:[.,]\d+)*"
LETTER = r"(?<![A-Za-z])[A-Za-zα-ωΑ-Ω](?:[_^]\w{1,12}|\d|′)?(?:\([^()\n]{0,20}\))?(?![A-Za-z])"
OPERAND = rf"(?:\b{NUMBER}[A-Za-z]?|{LETTER}|\([^()\n]{{1,30}}\))"
SIGN = r"[-+*/×·÷^−]"
LINE, BLOCK = re.MULTILINE, re.MULTILINE | re.DOTALL
NO_CASE = LINE | re.IGNORECASE
TAGS = "script|style|pre|code|table|svg|math"
ENDINGS = "com|org|net|edu|gov|io|ai|cn|de|uk|fr|jp|info|dev|app"
FILES = "py|js|ts|cpp|java|html|css|json|yaml|yml|toml|csv|txt|md|sh|exe|dll|zip|gz|pdf|png|jpg|jpeg|gif|mp3|mp4|wav"
KEYWORDS = "public|private|static|const|let|var|function|int|void|float|double|if|for|while"

RULES: dict[str, re.Pattern[str]] = {
    "code fence": re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(?:.*?\n)??[ \t]*\1[ \t]*$|^[ \t]*(?:```|~~~).*\Z", BLOCK),
    "block of mark-up": re.compile(rf"<({TAGS})\b[^>]{{0,500}}>.{{0,5000}}?</\1\s*>", BLOCK | re.IGNORECASE),
    "tag": re.compile(r"</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>\n]{0,500})?/?>|<!--.{0,2000}?-->", BLOCK),
    "entity": re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[A-Za-z]{2,8});"),
    "display formula": re.compile(
        r"\$\$.{1,2000}?\$\$|\\\[.{1,2000}?\\\]|\\begin\{(\w+\*?)\}.{0,5000}?\\end\{\1\}", BLOCK
    ),
    "formula": re.compile(
        r"\$(?=[^\s$\d])[^$\n]{0,80}?(?<=[^\s$])\$(?!\d)|\$\d+[A-Za-z+*/^=_\\-][^$\n]{0,80}?\$(?!\d)"
        r"|\\\([^\n]{1,200}?\\\)|\\[A-Za-z]+\{[^{}\n]{0,80}\}"
    ),
    "equation": re.compile(
        rf"{OPERAND}(?:\s?{SIGN}\s?{OPERAND}){{0,8}}(?:\s?[=≈≠≤≥≡∝]\s?|\s[<>]=?\s){OPERAND}"
        rf"|\d\s?[*×·÷^]\s?{OPERAND}|[^\s∑∏∫√∂∇∞∈∉⊂⊆∪∩∀∃]{{0,40}}[∑∏∫√∂∇∞∈∉⊂⊆∪∩∀∃]\S*"
    ),
    "inline code": re.compile(r"`[^`\n]+`"),
    "table row": re.compile(
        r"^[ \t]*\|.*\|[ \t]*$|^[^\n|]*\|[^\n|]*\|[^\n]*$|^[ \t|:+-]*-{3,}[ \t|:+-]*$|^[^\n\t]*\t[^\n\t]+\t[^\n]*$",
        LINE,
    ),
    "link target": re.compile(r"!?\[[^\]\n]{0,300}\]\([^)\s]{1,500}(?:\s\"[^\"\n]{0,200}\")?\)"),
    "address": re.compile(r"(?<![A-Za-z0-9])(?:[a-z][a-z0-9+.-]{1,10}://|www\.)[^\s<>\"'）)\]}，。；]+", NO_CASE),
    "domain": re.compile(rf"(?<![\w.-])(?:[a-z0-9-]{{1,63}}\.){{1,8}}(?:{ENDINGS})(?:/\S*)?(?![\w-])", NO_CASE),
    "e-mail": re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}"),
    "handle": re.compile(r"(?<!\w)[@#][A-Za-z_]\w+"),
    "path": re.compile(
        rf"(?<![\w/.])(?:~|\.{{1,2}})?(?:/[\w.+-]+){{2,}}/?|\b[A-Za-z]:\\\S+|(?<![\w/])[\w-]{{1,80}}\.(?:{FILES})\b(?!\.\w)"
    ),
    "identifier": re.compile(
        r"\b[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+\b|\b\w{1,60}\.\w{1,60}\([^)\n]{0,80}\)|\b[A-Za-z_]\w{0,60}\(\)"
    ),
    "line of code": re.compile(
        r"^[ \t]*(?:import \w[\w.]*(?: as \w+)?;?|from [\w.]+ import [^\n]*|#include\b[^\n]*|def \w+\([^\n]*"
        rf"|class \w+[(:][^\n]*|return\b[^\n]*;|(?:{KEYWORDS})\b[^\n]*[{{;(=][^\n]*[{{}};:]"
        r"|[\w.\[\]]{1,80}\s?[-+*/]?=\s?[^\n=]*[;()\[\]{}\"'][^\n]*|[{}\]);]+|\$ \S[^\n]*|>>> [^\n]*)[ \t]*$",
        LINE,
    ),
    "digest": re.compile(
        r"\b(?=\w*\d)(?=\w*[A-Fa-f])[0-9A-Fa-f]{12,}\b|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b\d{16,}\b"
    ),
    "mark": re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$|^#{1,6}(?= )", LINE),
    "object": re.compile(r"[{\[]\s{0,8}\"[\w -]{1,60}\"\s{0,8}[:,][^\n]{0,2000}?[}\]]"),
    "reference": re.compile(r"\[\d{1,4}(?:[,–-]\s?\d{1,4}){0,20}\]|\bdoi:\S+|\barXiv:\S+"),
}


def unspeakable_parts(text: str) -> list[tuple[int, int]]:
    """Start and end of each unspeakable part, in order, joined where parts touch or overlap."""
    parts: list[tuple[int, int]] = []
    for start, end in sorted(match.span() for rule in RULES.values() for match in rule.finditer(text)):
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        else:
            parts.append((start, end))
    return parts
