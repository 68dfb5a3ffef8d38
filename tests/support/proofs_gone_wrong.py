"""Checks for a process of `lm.proofs.checks` that go wrong: by a crash, a hang, an error, and by broken layers."""

from __future__ import annotations

import ctypes
import signal
import time
from typing import Any
from unittest import mock

from lm.proofs import numerics
from lm.proofs.finding import Finding


def crash() -> Finding:
    ctypes.string_at(0)
    raise AssertionError("it reads address 0")


def hang() -> Finding:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("waiting for what never comes", flush=True)
    while True:
        time.sleep(60)


def fail() -> Finding:
    raise RuntimeError("a library of another version")


def packed_as_one_document() -> Finding:
    """Boundaries between documents of one sequence are lost."""
    whole = numerics.document_boundaries

    def only_sequences(numbers: Any) -> Any:
        return whole(numbers * 0)

    with mock.patch.object(numerics, "document_boundaries", only_sequences):
        return numerics.packed_attention()


def turned_by_halves_always() -> Finding:
    turn = numerics.turn
    with mock.patch.object(numerics, "turn", lambda heads, table, **_: turn(heads, table, is_interleaved=False)):
        return numerics.rotary_positions()
