"""Fixtures of the language model's tests: tiny corpora, and processes forked from this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.tiny_lm import AudioData, TinyData, VectorData
from tests.support.tiny_lm import run_ranks as run_forked_ranks


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> VectorData:
    return VectorData(tmp_path_factory.mktemp("vectors"))


@pytest.fixture(scope="session")
def strided(tmp_path_factory: pytest.TempPathFactory) -> VectorData:
    return VectorData(tmp_path_factory.mktemp("strided"), stride=2)


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> AudioData:
    return AudioData(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    return TinyData(tmp_path_factory.mktemp("tiny"))


RunRanks = Callable[[Callable[[], Any], int], list[Any]]


@pytest.fixture(scope="session")
def run_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRanks]:
    """``run_ranks(work, size)`` runs ``work`` in ``size`` forked processes, see `tests.support.tiny_lm`.

    What is slow to import is imported here once.
    """
    from lm.training import trainer  # noqa: F401

    folder = tmp_path_factory.mktemp("stores")
    number = 0

    def start(work: Callable[[], Any], size: int) -> list[Any]:
        nonlocal number
        number += 1
        return run_forked_ranks(work, size, folder / f"store-{number}")

    yield start
