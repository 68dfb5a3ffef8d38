"""Every layout trains the same model: losses agree with one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.stage import Run
from lm.loop_config import LoopConfig
from lm.model_config import ModelConfig
from lm.parallel import ParallelConfig
from lm.train import TrainConfig, run

MODEL = dict(layers=4, hidden=32, heads=4, kv_heads=2, ffn=48, vocabulary_multiple=16)
LOOP = dict(
    steps=50, sequence_length=32, micro_batch=2, global_batch=8, learning_rate=1e-2, final_learning_rate=1e-3,
    warmup_steps=5, log_every=1, validate_every=0, checkpoint_every=0, precision="fp32",
)  # fmt: skip


def losses_of(tiny: Any, out: Path, parallel: dict[str, Any], **changes: Any) -> list[float]:
    model = {name: changes.pop(name) for name in list(changes) if name in ModelConfig.__dataclass_fields__}
    config = TrainConfig(
        out=str(out),
        vocabulary=str(tiny.folder / "vocabulary"),
        corpora=tiny.corpora("text", "tts", "interleaved"),
        model=ModelConfig(**{**MODEL, **model}),
        parallel=ParallelConfig(**parallel),
        train=LoopConfig(**{**LOOP, **changes}),
    )
    out.mkdir(exist_ok=True)
    metrics = run(config, Run(out))
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows] + [metrics["val_loss.tts"], metrics["val_loss.tts.speech"]]


LAYOUTS = {
    "tensor": (2, dict(tensor=2)),
    "tensor and sequence": (2, dict(tensor=2, sequence=True)),
    "pipeline": (2, dict(pipeline=2)),
    "virtual pipeline": (2, dict(pipeline=2, virtual=2)),
    "virtual pipeline, overlapped": (2, dict(pipeline=2, virtual=2, overlap_p2p=True)),
    "context": (2, dict(context=2)),
    "data": (2, dict()),
    "data, distributed optimizer": (2, dict(distributed_optimizer=True)),
    "tensor and pipeline": (4, dict(tensor=2, pipeline=2, sequence=True)),
}


@pytest.fixture(scope="module")
def plain(tiny: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("plain")
    return run_ranks(lambda: losses_of(tiny, folder, {}), 1)[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_as_one_process(name: str, tiny: Any, plain: list[float], run_ranks: Any, tmp_path: Path) -> None:
    size, parallel = LAYOUTS[name]
    got = run_ranks(lambda: losses_of(tiny, tmp_path, parallel), size)[0]
    assert plain[0] > 1.5 * plain[49] > 0
    assert got == pytest.approx(plain, rel=1e-4)
