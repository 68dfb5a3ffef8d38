import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.normalisation import normalise
from corpus.text.spoken_form import spoken_form
from runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (
            "It cost $5.50, £1 million or €20.",
            "It cost five dollars and fifty cents, one million pounds or twenty euros.",
        ),
        ("$1 and $1.01 and $3.00", "one dollar and one dollar and one cent and three dollars"),
        ("On March 5, 2019.", "On March fifth twenty nineteen."),
        ("2019-03-05, 3/5/2019", "March fifth twenty nineteen, March fifth twenty nineteen"),
        ("5 March 2020", "the fifth of March twenty twenty"),
        ("in 1905, the 1990s", "in nineteen oh five, the nineteen nineties"),
        ("10:30 a.m., 10:05, 5pm", "ten thirty a m, ten oh five, five p m"),
        ("the 1st and 22nd", "the first and twenty second"),
        ("1/2 of 3.14 km", "one half of three point one four kilometers"),
        ("60 km/h, 20°C, 1 kg, 50%", "sixty kilometers per hour, twenty degrees celsius, one kilogram, fifty percent"),
        ("pages 5-10", "pages five to ten"),
        (
            "1,234,567 and 007",
            "one million two hundred thirty four thousand five hundred sixty seven and zero zero seven",
        ),
        ("-5 or 2+2", "minus five or two plus two"),
        ("Call 555-123-4567", "Call five five five, one two three, four five six seven"),
        ("Dr. Smith vs. Mr. Lee, e.g. No. 5", "doctor Smith versus mister Lee, for example number five"),
        ("St. John on Main St.", "saint John on Main street"),
        ("the BBC, U.S. and NASA", "the B B C, U S and NASA"),
        ("World War II", "World War two"),
        ("I AM HERE NOW", "I AM HERE NOW"),
        ("v1.2 and a cat", "version one point two and a cat"),
        ("我有123元", "我有一百二十三元"),
        ("他有2个苹果，花了10.5元", "他有两个苹果，花了十点五元"),
        ("2024年3月5日", "二零二四年三月五日"),
        ("在2024-03-05，10:05", "在二零二四年三月五日，十点零五分"),
        ("涨了3.5%，约1/2", "涨了百分之三点五，约二分之一"),
        ("10005人，120000人，100010000人", "一万零五人，十二万人，一亿零一万人"),
        ("第3名，5-10公里，20℃", "第三名，五到十公里，二十摄氏度"),
        ("¥5万，电话13800138000", "五万元，电话幺三八零零幺三八零零零"),
        ("等于 -5 度，5kg，2年以后", "等于 负五 度，五公斤，两年以后"),
        ("5月2日14:00", "五月二日十四点"),
        ("没有数字。", "没有数字。"),
    ],
)
def test_readings(text: str, read: str) -> None:
    assert spoken_form(text, "builtin").text == read
    assert spoken_form(read, "builtin").text == read
    assert spoken_form(text, "none").text == text


@given(
    st.one_of(st.integers(0, 10**15).map(str), st.decimals(0, 10**6, places=2).map(str)), st.sampled_from(["", "数"])
)
def test_no_digit_is_left(number: str, word: str) -> None:
    read = spoken_form(f"{word}{number}", "builtin").text
    assert not any(letter.isdigit() and letter.isascii() for letter in read) and normalise(read)


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(spoken_form(text, "builtin").text, str)


def test_nasty_texts_end() -> None:
    for piece in ("1", "1,", "$ ", "A.", "1-", "9 ", "A ", "1/", ":1", "2年"):
        spoken_form(piece * (5000 // len(piece)), "builtin")
    assert spoken_form("1 " * 2501, "builtin").text == "1 " * 2501  # too long for a span


def test_mandarin_numbers_are_distinct_and_readable() -> None:
    from corpus.text.mandarin_numbers import cardinal

    numbers = [*range(0, 12000, 7), *(10**power + step for power in range(4, 13) for step in (0, 1, 10, 105, 2000))]
    readings = {number: cardinal(str(number)) for number in numbers}
    assert len(set(readings.values())) == len(readings) and "零零" not in "".join(readings.values())
    assert {number: readings[number] for number in (0, 7, 14, 105, 10**4 + 10)} == {
        0: "零", 7: "七", 14: "十四", 105: "一百零五", 10**4 + 10: "一万零一十",
    }  # fmt: skip


def test_nemo_is_optional() -> None:
    try:
        import nemo_text_processing  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"normaliser=nemo.*normaliser=builtin"):
            spoken_form("5", "nemo")
    else:
        assert "five" in spoken_form("5 dogs", "nemo").text
