"""The report's small parts."""

from __future__ import annotations

from recipes.figures import smoothed
from recipes.page import figure_text, percent
from recipes.sections import pieces_of, spread


def test_rendered_documents_are_cut_at_speech() -> None:
    pieces = pieces_of("now the ball ‹24 speech: 7 7 31 …› in the box <|endoftext|>")
    assert [piece["is_speech"] for piece in pieces] == [False, True, False]
    assert pieces[1] == {"is_speech": True, "text": "24 speech: 7 7 31 …", "count": 24}
    assert pieces[2]["text"] == "in the box <|endoftext|>"


def test_numbers_for_people() -> None:
    assert [figure_text(value) for value in (1234567, 0.12345, 12.34, 3.0)] == ["1,234,567", "0.123", "12.3", "3"]
    assert [percent(0.123), percent(None)] == ["12.3 %", "–"]


def test_spread_takes_the_whole_range() -> None:
    rows = [{"id": number} for number in range(10)]
    assert [row["id"] for row in spread(rows, 5)] == [0, 2, 4, 6, 8]
    assert spread(rows, 20) == rows


def test_smoothing_keeps_a_constant() -> None:
    assert all(abs(value - 2.0) < 1e-9 for value in smoothed([2.0] * 20))
