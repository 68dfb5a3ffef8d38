"""Kinds of quantiser: the one table that options, model and losses read; free of torch.

A new kind is one module with a `tokenizer.quantisers.base.Quantiser`, and one row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class QuantiserKind:
    """One kind of quantiser.

    Attributes:
        quantiser: its class, as ``module:name``, imported when needed.
        has_levels: whether it rounds numbers to levels (``vq.levels``), whose product is the codebook's size.
        has_commitment: whether training adds a commitment loss.
    """

    quantiser: str
    has_levels: bool = False
    has_commitment: bool = True


QUANTISERS = {
    "vq": QuantiserKind(quantiser="tokenizer.quantisers.ema:EmaQuantiser"),
    "fsq": QuantiserKind(
        quantiser="tokenizer.quantisers.fsq:FiniteScalarQuantiser", has_levels=True, has_commitment=False
    ),
    "simvq": QuantiserKind(quantiser="tokenizer.quantisers.simvq:SimQuantiser"),
}
