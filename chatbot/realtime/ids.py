"""Random ids of events, items, responses and sessions, e.g. ``item_9fJ2...``."""

from __future__ import annotations

import secrets
import string

LETTERS = string.ascii_letters + string.digits


def new_id(kind: str) -> str:
    """A fresh id."""
    return f"{kind}_" + "".join(secrets.choice(LETTERS) for _ in range(20))
