"""Outcome of a check."""

from __future__ import annotations

from dataclasses import dataclass, field

THERE, ABSENT, PROVEN, FAILED = "there", "absent", "proven", "failed"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One row of ``speechweave doctor``.

    Attributes:
        status: ``there`` or ``absent`` of a part of the machine; ``proven`` or ``failed`` of a law; a law about a part
            that this machine does not claim to have is ``absent``, too.
        detail: what was found: versions, numbers and their limits, or the reason.
        facts: numbers that other checks go by.
    """

    status: str
    detail: str
    facts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, holds: bool, detail: str) -> Finding:
        """The finding of a law."""
        return cls(status=PROVEN if holds else FAILED, detail=detail)
