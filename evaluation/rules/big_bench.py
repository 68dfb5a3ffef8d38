"""Answers to BIG-Bench tasks read aloud: yes or no, one of two sentences, valid or invalid, a number.

VoiceBench's bbh has four tasks (sports_understanding, hyperbaton, navigate, web_of_lies), Big Bench Audio formal
fallacies, navigate, object counting and web of lies. By default the last stated verdict counts; what states nothing
is wrong and counted. ``official`` reproduces VoiceBench's quirks that are known: what matches nothing is drawn
(seeded here, counted), a lone "a" or "b" is the first sentence for hyperbaton, and for sports "the sentence ... is not
plausible" is a yes.
"""

from __future__ import annotations

import re
import string

from evaluation.sets.item import EvaluationItem

from .choices import DRAWN, EMPTY, UNMATCHED, stated_choice
from .measure import ItemScore, Measure
from .number_words import digits_of
from .rule import Answered, Rule

SPORTS, HYPERBATON, NAVIGATE, WEB_OF_LIES = "sports_understanding", "hyperbaton", "navigate", "web_of_lies"
FALLACIES, COUNTING = "formal_fallacies", "object_counting"
TASKS = (SPORTS, HYPERBATON, NAVIGATE, WEB_OF_LIES, FALLACIES, COUNTING)

NO, YES = "no", "yes"
# Ordered: a denial is looked for before what it denies. Each pattern is a verdict in words.
_BACK = r"(?:return|end up|are|be|get)(?:s|ed)?(?: \w+)? (?:to|at|back)(?: \w+)? (?:the )?(?:starting|start|origin)"
VERDICTS: dict[str, tuple[tuple[str, str], ...]] = {
    SPORTS: ((NO, r"(?:\bnot|n't)(?: \w+)? plausible|\bimplausible"), (YES, r"\bplausible")),
    NAVIGATE: (
        (NO, r"(?:\bnot|\bnever|n't) (?:\w+ )?(?:return|end up|back at|be back|get back|at the starting)"),
        (YES, rf"\b{_BACK}"),
    ),
    WEB_OF_LIES: (
        (NO, r"(?:\bnot|n't) tell(?:ing)? the truth|\b(?:lies|lying|is a liar)\b"),
        (YES, r"\btell(?:s|ing)? the truth|\btruthful"),
    ),
    FALLACIES: ((NO, r"\binvalid|\bnot (?:deductively )?valid"), (YES, r"\bvalid")),
}
STATED = re.compile(r"\b(?:answer|conclusion|verdict)(?: is|:)?\W*(?:indeed |clearly )?(yes|no)\b")
LEADING, ANY = re.compile(r"\W*(yes|no)\b"), re.compile(r"\b(yes|no)\b")
NUMBER = re.compile(r"\b\d+\b|\b[a-z]+(?:-[a-z]+)?\b")
SENTENCE_FIRST = re.compile(r"\b(?:first|former|sentence (?:one|1|a))\b")
SENTENCE_SECOND = re.compile(r"\b(?:second|latter|sentence (?:two|2|b))\b")

SPACED = str.maketrans(dict.fromkeys(string.punctuation, " "))


def task_of(text: str) -> str | None:
    """The task that an id or a category names."""
    name = text.lower().replace(" ", "_")
    return next((task for task in TASKS if task in name), None)


def stated_answer(task: str, text: str) -> str | None:
    """The verdict of an answer in normal form: "yes", "no", a letter, or digits; None where it states none."""
    lowered = text.lower().replace("’", "'")
    if task == HYPERBATON:
        return stated_choice(text) or _one_sentence(lowered)
    if task == COUNTING:
        numbers = [
            digits for word in NUMBER.findall(lowered) if (digits := word if word.isdigit() else digits_of(word))
        ]
        return numbers[-1] if numbers else None
    stated = STATED.findall(lowered)
    if stated:
        return str(stated[-1])
    leading = LEADING.match(lowered)
    if leading and task != FALLACIES:
        return leading[1]
    verdict = _last_verdict(task, lowered)
    said = set(ANY.findall(lowered))
    return verdict or (said.pop() if len(said) == 1 and task != FALLACIES else None)


def _last_verdict(task: str, text: str) -> str | None:
    found: list[tuple[int, str]] = []
    denied = [match.span() for match in re.finditer(VERDICTS[task][0][1], text)]
    found += [(start, NO) for start, _ in denied]
    for match in re.finditer(VERDICTS[task][1][1], text):
        if not any(start <= match.start() < end for start, end in denied):
            found.append((match.start(), YES))
    return max(found)[1] if found else None


def _one_sentence(text: str) -> str | None:
    first, second = SENTENCE_FIRST.search(text), SENTENCE_SECOND.search(text)
    return None if bool(first) == bool(second) else "a" if first else "b"


def reference_answer(task: str, reference: str) -> str:
    """A reference in the same normal form: "valid" is a yes, "(A)" is a, "seven" is 7."""
    text = reference.strip().lower().strip(string.punctuation + " ")
    if task == FALLACIES and text in ("valid", "invalid"):
        return YES if text == "valid" else NO
    return (digits_of(text) or text) if task == COUNTING else text


def official_answer(task: str, text: str) -> str | None:
    """The verdict by VoiceBench's way, as far as it is known; None where a random one would be drawn."""
    text = " ".join(re.sub(r"<[123]>", "", text.lower()).translate(SPACED).split())
    if task == HYPERBATON:
        if text in ("a", "b"):
            return "a"  # both letters alone are read as the first sentence
        return _one_sentence(text) or next(
            (one for one in "ab" if f"option {one}" in text or f"is {one}" in text), None
        )
    if task == SPORTS and re.search(r"\bthe sentence (?!is\b)\S.* is not plausible\b", text):
        return YES
    leading, stated = LEADING.match(text), STATED.findall(text)
    if leading or stated:
        return leading[1] if leading else str(stated[-1])
    return _last_verdict(task, text)


def score(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where the verdict is the reference's."""
    task = str(item.details["task"])
    wanted = reference_answer(task, item.references[0])
    if answered.compat == "official":
        said = official_answer(task, answered.text)
        note = "" if said else DRAWN
        said = said or answered.draw(item, "bbh").choice(("a", "b") if task == HYPERBATON else (NO, YES))
    else:
        said = stated_answer(task, answered.text)
        note = "" if said else UNMATCHED if answered.text.strip() else EMPTY
    return ItemScore({"accuracy": Measure(float(said == wanted))}, note, {"said": said})


BBH = Rule(name="bbh", score=score, has_official=True, version=2)
STATED_ANSWER = Rule(name="stated_answer", score=score)
