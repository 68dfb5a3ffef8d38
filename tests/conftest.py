"""Settings of all tests: generated examples are the same in each run, without a time limit for any of them.

An example that fails by chance, or on a slow machine only, says nothing about the change at which it appeared. To
look for new ones: ``HYPOTHESIS_PROFILE=explore python -m pytest ...``.

Two workers of pytest-xdist run files side by side (``make test``; ``python -m pytest -n 2 --dist loadfile
--no-loadscope-reorder``); ``python -m pytest`` runs all in one process. A file's tests stay in one worker, in their
order, and files that take longest begin first. Each worker has folders and servers of its own, and one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.commands import Commands

SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
LONGEST = (
    "laws/test_chain.py",
    "training/test_resume.py",
    "training/test_speech_layouts.py",
    "training/test_layouts.py",
    "decoder/test_ranks.py",
    "recipes/test_doctor.py",
    "page/test_talk.py",
    "tokenizer/test_ablation.py",
    "page/test_page.py",
)

if SIDE_BY_SIDE:  # before anything imports numpy or torch; the processes that tests start inherit it
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SIDE_BY_SIDE:  # a long file that begins last leaves the other worker idle
        rank = {ending: at for at, ending in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(rank)))


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Command lines of stages, as forks of a process that has imported their libraries."""
    from tests.support.commands import open_commands

    with open_commands() as commands:
        yield commands
