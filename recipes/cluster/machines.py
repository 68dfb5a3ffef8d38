"""Clusters of one kind of accelerator, eight to a node, e.g. ``64xH100``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lm.training.accelerators import ACCELERATORS, Accelerator
from runtime.errors import UserError

GPUS_PER_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Equal accelerators, eight to a node (fewer than eight: one node).

    Attributes:
        gpus: their number.
        kind: a name of `lm.training.accelerators`.
    """

    gpus: int
    kind: str

    @classmethod
    def parse(cls, text: str) -> Cluster:
        """Read ``<number>x<kind>``.

        Raises:
            UserError: another form, an unknown kind, or a number that does not fill its nodes.
        """
        match = re.fullmatch(r"(\d+)x(\w+)", text.strip())
        kinds = {name.lower(): name for name in ACCELERATORS if " " not in name}
        remedy = f"write NUMBERxKIND, e.g. 64xH100; kinds are {', '.join(kinds.values())}"
        if not match or match[2].lower() not in kinds or int(match[1]) < 1:
            raise UserError("option cluster", found=f"found {text!r}", remedy=remedy)
        cluster = cls(gpus=int(match[1]), kind=kinds[match[2].lower()])
        if cluster.gpus > GPUS_PER_NODE and cluster.gpus % GPUS_PER_NODE:
            found = f"{cluster.gpus} accelerators are not whole nodes of {GPUS_PER_NODE}"
            rounded = cluster.gpus // GPUS_PER_NODE * GPUS_PER_NODE
            raise UserError("option cluster", found=found, remedy=f"give {rounded} or {rounded + GPUS_PER_NODE}")
        return cluster

    @property
    def accelerator(self) -> Accelerator:
        """One of them."""
        return ACCELERATORS[self.kind]

    @property
    def nodes(self) -> int:
        """Machines."""
        return -(-self.gpus // GPUS_PER_NODE)

    @property
    def per_node(self) -> int:
        """Accelerators of a machine."""
        return min(self.gpus, GPUS_PER_NODE)

    def __str__(self) -> str:
        return f"{self.gpus}x{self.kind}"
