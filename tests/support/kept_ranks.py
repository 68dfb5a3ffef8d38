"""A stage as one rank runs it, keeping the rank's weights at every checkpoint; it may be killed on the way.

    python -m tests.support.kept_ranks MODULE FOLDER LAST [key=value ...]

The weights go to ``FOLDER-rank-N.pt``. At step ``LAST`` the process ends as if killed (-1: never).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import torch

from runtime.fit import FittingLoop


def main(module: str, folder: str, last: int, words: Sequence[str]) -> int:
    """Run the stage with the two hooks; its exit status."""
    save, advance = FittingLoop.save, FittingLoop.advance

    def keep(loop: FittingLoop) -> None:
        save(loop)
        torch.save(loop.model.state_dict(), f"{folder}-rank-{os.environ.get('RANK', '0')}.pt")

    def advance_until(loop: FittingLoop, loss: torch.Tensor) -> object:
        if loop.step == last:
            os._exit(9)
        return advance(loop, loss)

    FittingLoop.save, FittingLoop.advance = keep, advance_until  # type: ignore[method-assign, assignment]
    return importlib.import_module(module).STAGE.main(list(words))


if __name__ == "__main__":
    _, module, folder, last, *words = sys.argv
    sys.exit(main(module, folder, int(last), words))
