"""The planner's memory model against what is alive while the trainer runs, for small layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import LAYOUTS, Measurement, make_config, make_corpus, peak_of_training
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("memory")
    return folder, make_corpus(folder, 1024)


def test_the_plan_knows_the_local_attention() -> None:
    from lm.training import attention
    from recipes.cluster import memory

    assert (attention.MAX_BLOCK_KEYS, attention.QUERY_BLOCK) == (memory.BLOCK_KEYS, memory.QUERY_BLOCK)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_plan_is_within_10_percent_of_what_is_measured(
    name: str, corpus: tuple[Path, int], run_ranks: Any, tmp_path: Path
) -> None:
    folder, size = corpus
    model = LmModelConfig(layers=4, hidden=128, heads=4, kv_heads=2, ffn=352)
    loop = LoopConfig(
        steps=2, warmup_steps=1, sequence_length=256, micro_batch=2, global_batch=8, precision="fp32",
        reset_attention=False, validate_every=0, checkpoint_every=0,
    )  # fmt: skip
    config = make_config(folder, tmp_path / "out", model, loop, LAYOUTS[name])
    measurement = Measurement(name=name, config=config, processes=config.parallel.model_size)
    measurement.measured = run_ranks(lambda: peak_of_training(config), measurement.processes)
    padded = -(-size // model.vocabulary_multiple) * model.vocabulary_multiple
    for measured, predicted in zip(measurement.measured, measurement.predicted(padded), strict=True):
        assert measured > 10e6
        print(f"{name}: measured {measured / 1e6:.1f} MB, predicted {predicted / 1e6:.1f} MB")
        assert predicted == pytest.approx(measured, rel=0.10)
