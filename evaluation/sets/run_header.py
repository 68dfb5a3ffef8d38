"""Circumstances that every run over an evaluation set writes down: the set and the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """The set and the model of a run, which a score's stamp takes over.

    Attributes:
        benchmark: by name.
        data: where the set was read from.
        set_digest: of its items.
        items: their number.
        left_out: bad rows of the set.
        repeated: items whose content came before.
        model: what was asked: a folder's name, or an endpoint as it was given.
        model_digest: of its files, or what an endpoint says of itself.
    """

    benchmark: str
    data: str
    set_digest: str
    items: int
    left_out: int
    repeated: int
    model: str
    model_digest: str
