import numpy as np
import pytest

from runtime.errors import UserError
from text2token.gate import GateConfig, count_letters, distinct_share, judge

RISING = np.arange(40, dtype=np.uint16)


@pytest.mark.parametrize(
    ("text", "codes", "is_finished", "verdict"),
    [
        ("tenletters", RISING[:10], True, "good"),
        ("tenletters", RISING[:4], True, "good"),
        ("tenletters", RISING[:3], True, "short"),
        ("tenletters", RISING[:30], True, "good"),  # 1.8 * 10 + 12
        ("tenletters", RISING[:31], True, "long"),
        ("tenletters", RISING[:10], False, "unfinished"),
        ("tenletters", RISING[:0], True, "empty"),
        ("tenletters", RISING[:0], False, "empty"),
        ("tenletters", np.tile(RISING[:2], 8), True, "repetitive"),
        ("tenletters", np.concatenate([RISING[:9], np.full(4, 7)]), True, "good"),  # a pause
        ("!", RISING[:12], True, "good"),
    ],
)
def test_verdicts(text: str, codes: np.ndarray, is_finished: bool, verdict: str) -> None:
    assert judge(text, codes, is_finished, GateConfig()) == verdict


def test_measures() -> None:
    assert count_letters("किताब") == 5 and count_letters("e\u0301") == 1  # vowel signs are said, accents are not
    assert count_letters("It's 10 o'clock.") == 11 and count_letters("天气 ok") == 10 and count_letters(" -!") == 0
    assert distinct_share(RISING) == 1.0 and distinct_share(np.full(20, 3, dtype=np.uint16)) == 1 / 18
    assert GateConfig(max_per_letter=1.5, allowance=5).max_tokens("abc") == 10


def test_options() -> None:
    with pytest.raises(UserError, match=r"option allowance: found -1.*at least 0"):
        GateConfig(allowance=-1)
    with pytest.raises(UserError, match=r"gate\.min_per_letter.*at most"):
        GateConfig(min_per_letter=3)
