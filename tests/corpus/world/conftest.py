from __future__ import annotations

import pytest

from corpus.world.closed_world import World
from corpus.world.held_out import HeldOutTexts


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=1)


@pytest.fixture(scope="module")
def held_out(world: World) -> HeldOutTexts:
    return HeldOutTexts(world, share=0.1, seed=1)
