from __future__ import annotations

import pytest

from corpus.splits import HeldOutTexts
from corpus.world.closed_world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=1)


@pytest.fixture(scope="module")
def held_out(world: World) -> HeldOutTexts:
    return HeldOutTexts(world, share=0.1, seed=1)
