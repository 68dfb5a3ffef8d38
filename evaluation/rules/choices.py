"""The letter that an answer chooses: multiple choice in free text, in English and Chinese.

By default the clearest statement counts: the last "the answer is B" (or boxed, or 答案是B), else a letter that the
answer begins with or is, else the only letter in brackets or after "option", else the only option whose text occurs.
What states nothing is wrong and counted.

``official`` reproduces VoiceBench's way: lower case, templates in order, for each a, b, c and d by substring, then a
letter in front; what matches nothing is drawn, seeded here, and counted. The families of templates are those that are
known in words, about a third of the script's 160.
"""

from __future__ import annotations

import re

from evaluation.sets.item import EvaluationItem

from .measure import ItemScore, Measure
from .rule import Answered, Rule

LETTERS = "abcd"
UNMATCHED, DRAWN, EMPTY = "no choice found", "no choice found, drawn at random", "empty answer"
MARKS = re.compile(r"<[123]>")

LATEX = re.compile(r"\\(?:boxed|text|textbf|mathbf|mathrm)\s*\{\s*\(?([A-Da-d])\)?\s*\}")
MARKUP = re.compile(r"[*_`$]+")
_CHOICE = r"[\s:：是为]*(?:option|choice|选项)?[\s:：\"'“(（\[【]*([A-D])(?![A-Za-z'’])"
STATED = re.compile(
    rf"(?i:answers?|choice|option|solution)(?i:\s+(?:choice|option))?(?i:\s+(?:is|would be|should be|must be|will be)"
    rf"(?:\s+most likely|\s+clearly|\s+therefore)?|\s*[:：=]){_CHOICE}"
    rf"|(?i:i(?:'d| would| will|'ll)? (?:choose|pick|select|go with)){_CHOICE}"
    rf"|([A-D])[)）.]?(?i:\s+is (?:the )?(?:correct|right|best|most likely)\b(?:\s+(?:answer|option|choice))?)"
    rf"|(?:答案|选项|选择|应选|应该选|我选)(?:应该|应当|就)?{_CHOICE}"
)
STATED_SMALL = re.compile(r"(?i:(?:answer|option|choice) is)[\s:\"'(\[]*([a-d])(?=[\s.,:;!)\]\"']*(?:$|\n|[.,:;)\]]))")
LEADING = re.compile(r"^[\s\"'(（\[【]*([A-Da-d])(?:[.,:：、;)）\]】]|\s*$)")
LEADING_CAPITAL = re.compile(r"^\s*([B-D])\s")
BRACKETED = re.compile(r"[(（\[【]\s*([A-Da-d])\s*[)）\]】]|\b(?i:option|choice)\s+([A-D])\b|选项\s*([A-D])")
ALONE = re.compile(r"(?<![A-Za-z'’])([B-D])(?![A-Za-z'’])")
OPTION_TEXT = re.compile(r"(?:^|[\n\s(（])([A-D])[.):：）、]\s*(.+?)(?=\s*[\n(（]?\s*[A-D][.):：）、]\s|\n|$)")

# In order; {} is the letter. Known families only, see above.
OFFICIAL_TEMPLATES = (
    "答案是{}", "答案是 {}", "答案是选项{}", "答案应该是{}", "答案应该是 {}", "答案选{}", "是{}：", "{}是正确",
    "选项{}是最合适的", "final answer: {}", "answer is: **{}", "answer is **{}", "the answer is '{}'",
    "{} is the best answer", "the answer is {}", "the correct answer is {}", "would select {}", "would choose {}",
    "would select option {}", "would choose option {}", "is **{}", "is likely **{}**", "is: **{}", "be **{}",
    "would be {}", "would be option {}", "would be ({})", "is {},", "i'd say {}.", "option {}.", "option {}:",
    "option {},", "is {}:", "is {}.", "is: {}", "is ({})", "is:\n**{}", ":\n{}.", ":\n{})", ":\n\n{}.", ":\n\n{})",
    "is {})", "(option {})", "answer is ({})", "answer: {}", "answer is:\n\n{}", "answer is:\n{}", "is '{}'",
    "is \\( \\boxed{{{}}}", "option **{}**", " {}.", " {},", " {}:", " {})", "**{}.", "**{})", "**{}:", '"{}.',
    '"{},', '"{}:', "({})", '"{}"', "{{{}}}", "\n\n**{}",
)  # fmt: skip


def official_choice(text: str) -> str | None:
    """The letter by VoiceBench's way, lower case; None where a random one would be drawn."""
    text = MARKS.sub("", text.lower()).strip()
    for template in OFFICIAL_TEMPLATES:
        for letter in LETTERS:
            if template.format(letter) in text:
                return letter
    for letter in LETTERS:
        if text == letter or text.startswith(tuple(f"{letter}{sign}" for sign in ".,:)")):
            return letter
    return None


def stated_choice(text: str, prompt: str = "") -> str | None:
    """The letter that an answer states most clearly, lower case; None where it states none, or several alike."""
    boxed = LATEX.findall(text)
    if boxed:
        return str(boxed[-1]).lower()
    text = MARKUP.sub("", text)
    for pattern in (STATED, STATED_SMALL):
        stated = [next(filter(None, found.groups())) for found in pattern.finditer(text)]
        if stated:
            return stated[-1].lower()
    for pattern in (LEADING, LEADING_CAPITAL):
        leading = pattern.match(text)
        if leading:
            return leading[1].lower()
    for pattern in (BRACKETED, ALONE):
        letters = {next(filter(None, found.groups())).lower() for found in pattern.finditer(text)}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return _by_text(text, prompt)


def _by_text(text: str, prompt: str) -> str | None:
    options = {letter.lower(): option.strip(" .;,").lower() for letter, option in OPTION_TEXT.findall(prompt)}
    said = text.lower()
    found = [
        letter
        for letter, option in options.items()
        if option and re.search(rf"(?<!\w){re.escape(option)}(?!\w)", said) is not None
    ]
    return found[0] if len(found) == 1 else None


def score(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where the letter is the reference's."""
    wanted = reference_letter(item)
    if answered.compat == "default":
        chosen = stated_choice(answered.text, item.prompt)
        note = "" if chosen else UNMATCHED if answered.text.strip() else EMPTY
    else:
        chosen = official_choice(answered.text)
        note = "" if chosen else DRAWN
        chosen = chosen or answered.draw(item, "mcq").choice(LETTERS)
    return ItemScore({"accuracy": Measure(float(chosen == wanted))}, note, {"chosen": chosen})


def reference_letter(item: EvaluationItem) -> str:
    """The letter of the reference ("B", "(B)", "B. Paris", "Option B"), lower case."""
    return item.references[0].lower().removeprefix("option").strip(" ([{\"'")[:1]


MCQ = Rule(name="mcq", score=score, has_official=True, version=2)

OPTION = {"en": re.compile(r"option\s*([abcd])", re.IGNORECASE), "zh": re.compile(r"选项\s*([abcd])", re.IGNORECASE)}


def score_option(item: EvaluationItem, answered: Answered) -> ItemScore:
    """SpeechMMLU's rule (MiMo-Audio): the first "option X" (zh: 选项X) counts, anything else is wrong."""
    found = OPTION["zh" if item.details.get("language") == "zh" else "en"].search(answered.text)
    chosen = found[1].lower() if found else None
    note = "" if chosen else UNMATCHED if answered.text.strip() else EMPTY
    return ItemScore({"accuracy": Measure(float(chosen == reference_letter(item)))}, note, {"chosen": chosen})


OPTION_NAMED = Rule(name="option", score=score_option)
