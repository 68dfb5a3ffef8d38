"""End of an ablation on a terminal: its tables, the place of its page, and the steps that failed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def print_ablation(out: Path, failed: Mapping[str, str]) -> int:
    """Print what an ablation wrote into ``out``; the exit status is 1 where a step failed."""
    print((out / "ablation.md").read_text(encoding="utf-8"))
    print(f"table and plot: {out / 'ablation.html'}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0
