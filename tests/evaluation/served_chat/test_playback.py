from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.served_chat.playback import Arrival, play


def test_a_late_piece_makes_a_gap_and_moves_what_follows() -> None:
    heard = play([Arrival(1.0, 100), Arrival(1.05, 100), Arrival(1.5, 100), Arrival(1.55, 100)], 1000)
    assert heard is not None
    assert heard.started == 1.0
    assert heard.gaps == pytest.approx((0.3,))  # 0.2 s of sound were there, the next came after 0.5 s
    assert heard.ended == pytest.approx(1.7)
    assert heard.head_start == pytest.approx(0.3)
    assert play([], 1000) is None
    assert play([Arrival(1.0, 0)], 1000) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2000)), min_size=1, max_size=20))
def test_the_head_start_is_the_smallest_that_leaves_no_gap(pieces: list[tuple[float, int]]) -> None:
    at, arrivals = 0.0, []
    for wait, count in pieces:
        at += wait
        arrivals.append(Arrival(at, count))
    heard = play(arrivals, 1000)
    if heard is None:
        assert not any(count for _, count in pieces)
        return
    assert heard.ended - heard.started == pytest.approx(sum(heard.gaps) + sum(count for _, count in pieces) / 1000)
    assert sum(heard.gaps) == pytest.approx(heard.head_start)
    enough = play(arrivals, 1000, heard.head_start + 1e-9)
    assert enough is not None
    assert not enough.gaps
    if heard.head_start > 1e-3:
        scarce = play(arrivals, 1000, heard.head_start - 1e-3)
        assert scarce is not None
        assert scarce.gaps
