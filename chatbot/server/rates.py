"""Rate limits of callers by token buckets."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class Rates:
    """A token bucket for each caller: full at first, refilled steadily, one token a request.

    Args:
        per_minute: tokens that flow in; 0 sets no limit.
        burst: tokens that fit in.
        clock: seconds, for tests.
    """

    MAX_CALLERS = 10_000  # the callers seen longest ago are forgotten: they have a full bucket again

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_minute / 60, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, when

    def wait(self, caller: str) -> float:
        """Take a token of ``caller``: 0, or the seconds until there is one (and none is taken)."""
        if not self.per_second:
            return 0.0
        now = self.clock()
        tokens, seen = self._buckets.pop(caller, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - seen) * self.per_second)
        missing = max(0.0, 1 - tokens)
        self._buckets[caller] = (tokens if missing else tokens - 1, now)
        if len(self._buckets) > self.MAX_CALLERS:
            self._buckets.popitem(last=False)
        return missing / self.per_second
