import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.speakability import RULES, unspeakable_parts


def speakable(text: str) -> str:
    parts, kept, at = unspeakable_parts(text), [], 0
    for start, end in parts:
        kept.append(text[at:start])
        at = end
    return " ".join("".join([*kept, text[at:]]).split())


@pytest.mark.parametrize(
    ("rule", "text", "kept"),
    [
        ("code fence", "Run this:\n```python\nx = 1\n```\nThen rest.", "Run this: Then rest."),
        ("code fence", "Left open:\n~~~\nwhile True", "Left open:"),
        ("block of mark-up", "See <pre>a b c</pre> here.", "See here."),
        ("tag", 'A <a href="x y">link</a><br/> and <b>bold</b>.', "A link and bold."),
        ("entity", "Fish &amp; chips&#33;", "Fish chips"),
        ("display formula", "So $$x^2 + y$$ and \\[ a \\] hold.", "So and hold."),
        ("display formula", "\\begin{align}a &= b\\end{align} done", "done"),
        ("formula", "Let $x_i$ be in \\(A\\), \\textbf{bold}.", "Let be in , ."),
        ("formula", "It costs $5 or $10 a day, or $3.50 with tax.", "It costs $5 or $10 a day, or $3.50 with tax."),
        ("equation", "Here x = 3 and a + b = c hold.", "Here and hold."),
        ("equation", "If 3 × 4 ≤ n then ∑ki grows.", "If then grows."),
        ("inline code", "Call `ls -l` now.", "Call now."),
        ("table row", "| a | b |\n|---|---|\n| 1 | 2 |\nText.", "Text."),
        ("table row", "name\tage\tcity\nTom is\there.", "Tom is here."),
        ("link target", "See [the page](http://x.org/y) and ![pic](a.png).", "See and ."),
        ("address", "Go to https://a.b/c?d=e#f, or www.x.y today.", "Go to or today."),
        ("domain", "Visit example.com/about or BBC.co.uk.", "Visit or ."),
        ("e-mail", "Write to a.b+c@mail.example.org soon.", "Write to soon."),
        ("handle", "Thanks @tom for #weather news; item # 3", "Thanks for news; item # 3"),
        ("path", "Open /usr/lib/x.so, C:\\Temp\\a or notes.txt and/or go.", "Open , or and/or go."),
        ("identifier", "Set max_new_tokens by os.getcwd() or main().", "Set by or ."),
        ("line of code", "import os\nfor (i = 0; i < n; i++) {\n}\n$ make test\nWe return home.", "We return home."),
        ("digest", "Commit 9f86d081884c7d65 of 4111111111111111 in 2024.", "Commit of in 2024."),
        ("mark", "# Title\n---\nText", "Title Text"),
        ("object", 'He sent {"id": 3, "a": [1]} back.', "He sent } back."),
        ("reference", "As shown [3, 4] in arXiv:2411.17607v1.", "As shown in"),
        ("prose", "Dr. Smith's 3-year-old (born 5/6/2019) paid 20% more—or £5.50; and/or left.", None),
        ("prose", "Is it A or B? I'd say B... He said: 'No. 5 is alive!' at 10:30 p.m.", None),
        ("prose", "价格是5元，比去年涨了3%。他说：“你好！”", None),
        ("mandarin", "请访问https://例子.cn，谢谢。", "请访问 ，谢谢。"),
    ],
)
def test_rules(rule: str, text: str, kept: str | None) -> None:
    assert speakable(text).replace(" ，", "，") == (text if kept is None else kept).replace(" ，", "，")
    if rule in RULES:
        assert kept == text or RULES[rule].search(text)


def test_every_rule_has_an_example() -> None:
    assert {mark for mark, *_ in test_rules.pytestmark[0].args[1]} >= set(RULES)  # type: ignore[attr-defined]


@given(st.text(alphabet="ab1 =<>$|`\\{}[]()#@/._\n\t-&", max_size=200))
def test_parts_are_in_order_and_apart(text: str) -> None:
    parts = unspeakable_parts(text)
    ends = [0, *(bound for part in parts for bound in part), len(text)]
    assert ends == sorted(ends) and all(start < end for start, end in parts)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(parts))


def test_nasty_texts_end() -> None:
    pieces = ("<pre>", "(", "$", "```\n", "a=", "|", "\\[", "1", "a.", "<a ", "[", "<!--", "//", "-", "a_", '{"a":')
    for piece in pieces:
        unspeakable_parts(piece * (20000 // len(piece)))
