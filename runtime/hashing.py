"""Seeds and numbers from texts by SHA-256: the same on every machine, in every process and order."""

from __future__ import annotations

import hashlib


def seed_of(*parts: str | int) -> int:
    """A 64-bit seed from names and numbers."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "little")


def text_number(text: str, num_bytes: int = 8) -> int:
    """The first bytes of a text's digest as an unsigned number, most significant byte first."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:num_bytes], "big")
