"""A bulk synthesis with a model that answers at once, whose units may need permits.

    python -m tests.support.instant_synthesis PERMITS [key=value ...]

``PERMITS`` is a folder of `tests.support.permits` ("" = none are needed); then come options of `text2token.synthesize`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.bulk import InstantSynthesis
from runtime.bulk.workers import Work, finish_units
from text2token.synthesis.plan import open_job
from text2token.synthesize import STAGE

from .permits import Permits, Rationed


def main(permits: str, *arguments: str) -> None:
    """Plan the job if it has no plan, and finish it."""
    config = STAGE.compose(arguments)
    job = open_job(Path(config.out), config)
    work: Work = InstantSynthesis(config=config, model_fingerprint="none")
    if permits:
        work = Rationed(work, Permits(Path(permits)))
    for _ in finish_units(job, work, processes=config.processes):
        pass
    job.tidy()


if __name__ == "__main__":
    main(*sys.argv[1:])
