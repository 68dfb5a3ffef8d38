"""Checks for a process of `lm.proofs.checks` that go wrong: by a crash, a hang and an error."""

from __future__ import annotations

import ctypes
import signal
import time

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
