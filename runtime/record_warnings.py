"""Warnings about records that are used although they look wrong, counted by the stage that reads them.

A reader calls `warn_of_record`; a stage, a bulk worker or a command collects what is warned of while it works
(`collected_warnings`), in all of its threads. Outside of any, Python shows the warning on stderr as it shows others.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

NUM_SHOWN = 3  # are shown at once, the others counted


class RecordWarning(Warning):
    """A record that looks wrong: its place (a file, say) and the reason."""


def warn_of_record(place: str, reason: str) -> None:
    """Warn of a record."""
    warnings.warn(RecordWarning(f"{place}: {reason}"), stacklevel=3)


@contextmanager
def collected_warnings(*, is_shown: bool = False) -> Iterator[dict[str, None]]:
    """Collect the messages of `RecordWarning` within the block, each once, in order; others are shown as ever.

    Args:
        is_shown: print the first ones to stderr, too.
    """
    seen: dict[str, None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RecordWarning)
        show = warnings.showwarning

        def keep(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, RecordWarning):
                show(message, category, filename, lineno, file, line)
                return
            if is_shown and str(message) not in seen and len(seen) < NUM_SHOWN:
                print(f"warning: {message}", file=sys.stderr, flush=True)
            seen[str(message)] = None

        warnings.showwarning = keep
        yield seen
