"""Options of the quantiser, free of torch so that ``--help`` stays light."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option

from .table import QUANTISERS


@dataclass(kw_only=True)
class QuantiserConfig(Options):
    """The quantiser: by default an EMA codebook with commitment loss and dead-code restart.

    Attributes:
        enabled: False trains the same encoder without a bottleneck (for comparison); it cannot encode.
        kind: ``vq`` (EMA codebook; the paper), ``fsq`` (finite scalar quantisation, arXiv 2309.15505: rounded
            projections, no codebook to learn and no commitment loss) or ``simvq`` (arXiv 2411.02038: frozen vectors
            under a learnt linear map).
        codebook_size: number of codes, at most 65536.
        levels: of ``fsq``: values that each projection is rounded to; their product is ``codebook_size``. Empty makes
            them 8s and 4s, which needs a power of two.
        decay: of the running averages that make the codebook (``fsq`` and ``simvq``: that count its use).
        commitment: weight of the commitment loss (the paper: 10; the released GLM-4-Voice tokenizer: 0.25).
        start_step: steps without quantisation first; then the codebook is made by k-means over real frames.
        kmeans_batches: batches whose frames the k-means takes.
        restart_share: a code used less than this share of the mean use is restarted from a random frame; 0: never
            (``vq`` only: the others have no vectors to restart).
        rotation_trick: pass gradients through by rotation (arXiv 2410.06424) instead of straight through.
    """

    enabled: bool = True
    codebook_size: int = option(512, at_least=2, at_most=65536)
    decay: float = option(0.99, above=0, below=1)
    commitment: float = option(10.0, at_least=0)
    start_step: int = option(500, at_least=0)
    kmeans_batches: int = option(8, at_least=1)
    restart_share: float = option(0.1, at_least=0, below=1)
    rotation_trick: bool = False
    kind: str = option("vq", one_of=QUANTISERS)
    levels: list[int] = option([], at_least=3)

    def __post_init__(self) -> None:
        super().__post_init__()
        has_levels = QUANTISERS[self.kind].has_levels
        check_option(not self.levels or has_levels, "vq.levels", self.levels, "set vq.kind=fsq or leave it")
        if has_levels:
            product = math.prod(self.fsq_levels)
            power = "give a power of 2 from 4 on"
            remedy = f"it must be the product of vq.levels ({product})" if self.levels else power
            check_option(product == self.codebook_size, "vq.codebook_size", self.codebook_size, remedy)

    @property
    def fsq_levels(self) -> list[int]:
        """The levels of ``fsq``: as given, or 8s followed by 4s whose product is ``codebook_size``."""
        if self.levels:
            return self.levels
        bits = round(math.log2(self.codebook_size))
        fours = {0: 0, 1: 2, 2: 1}[bits % 3] if bits > 1 else 0
        return [8] * ((bits - 2 * fours) // 3) + [4] * fours
