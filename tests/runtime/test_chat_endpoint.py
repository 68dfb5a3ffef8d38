"""Tally of an endpoint's failures: when a run ends for them, and what its error says."""

from __future__ import annotations

import pytest

from runtime.chat_endpoint import EARLY, FailureTally
from runtime.errors import UserError


def test_few_failures_are_counted_and_end_nothing() -> None:
    tally = FailureTally("http://x", "answers were not judged", 0.1)
    for number in range(100):
        tally.add("busy" if number % 10 == 0 else "")
    tally.check(tally.asked)
    assert (tally.asked, dict(tally.failures)) == (100, {"busy": 10})


def test_too_large_a_share_ends_the_run_early_and_at_its_end() -> None:
    tally = FailureTally("http://x", "answers were not judged", 0.1)
    for _ in range(EARLY - 1):
        tally.add("busy")
    with pytest.raises(UserError, match=rf"{EARLY} of {EARLY} answers were not judged \(19 times: busy\).*answers are"):
        tally.add("status 400")
    tally = FailureTally("http://x", "answers were not judged", 0.1)
    tally.add("busy")
    tally.check(10)  # those of an earlier call count among the requests
    with pytest.raises(UserError, match=r"http://x: 1 of 9 answers were not judged .*max_failed_share=0\.1"):
        tally.check(9)
    FailureTally("http://x", "answers were not judged", 0.0).check(0)
