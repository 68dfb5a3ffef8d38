"""Seeds are what they were: data sets, weights and samples of finished runs were drawn with them."""

from __future__ import annotations

from runtime.hashing import seed_of, text_number


def test_seeds_are_pinned() -> None:
    assert seed_of(1, "doc-3", "spans") == 2788595792861289884
    assert seed_of("é", 5) == 3608930437650319984
    assert seed_of("a", "b") != seed_of("ab")
    assert text_number("1 hello") == 4310700838335162503
    assert text_number("1/w", num_bytes=7) == 62002220748662441
