"""Checks for a process of `lm.proofs.checks` whose layers are broken."""

from __future__ import annotations

from typing import Any
from unittest import mock

from lm.proofs import numerics
from lm.proofs.finding import Finding


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
