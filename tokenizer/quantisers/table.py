"""Kinds of quantiser: the one table that options, model and losses read; free of torch.

A new kind is one module with a `tokenizer.quantisers.base.Quantiser`, and one row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class QuantiserKind:
    """One kind of quantiser.

    Attributes:
        module: where its class is; imported when needed.
        name: of the class.
        has_levels: whether it rounds numbers to levels (``vq.levels``), whose product is the codebook's size.
        has_commitment: whether training adds a commitment loss.
    """

    module: str
    name: str
    has_levels: bool = False
    has_commitment: bool = True


QUANTISERS = {
    "vq": QuantiserKind(module="tokenizer.quantisers.ema", name="EmaQuantiser"),
    "fsq": QuantiserKind(
        module="tokenizer.quantisers.fsq", name="FiniteScalarQuantiser", has_levels=True, has_commitment=False
    ),
    "simvq": QuantiserKind(module="tokenizer.quantisers.simvq", name="SimQuantiser"),
}
