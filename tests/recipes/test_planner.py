"""The planner agrees with sums done by hand, refuses what does not fit, and says what would."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from recipes.cluster.cluster_recipe import LAYOUTS, cluster_recipes, load_cluster_recipe
from recipes.cluster.machines import Cluster
from recipes.cluster.memory import GIB, in_flight, memory_by_stage, stage_parameters
from recipes.cluster.throughput import Assumptions, bubble_share, estimate_throughput
from recipes.planner import main
from recipes.quickstart import main as quickstart
from runtime.errors import UserError


def plan(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_9b_recipe_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """GLM-4-9B, 168,960 rows, sequences of 8,192, on 64 H100: tensor parallel 2 with sequence parallel, 32 copies."""
    found = plan(capsys, "recipe=9b", "cluster=64xH100")
    # A layer: attention 4096 x 128 x (2 x 32 + 2 x 2), feed-forward 3 x 4096 x 13696, biases 128 x 36, norms 2 x 4096.
    assert (4096 * 128 * 68, 3 * 4096 * 13696, 128 * 36) == (35_651_584, 168_296_448, 4_608)
    assert found["parameters"] == 40 * (35_651_584 + 168_296_448 + 4_608 + 8_192) + 4_096 + 2 * 168_960 * 4_096
    assert found["parameters"] == 9_542_557_696
    mine = 40 * ((35_651_584 + 168_296_448 + 4_608) // 2 + 8_192) + 4_096 + 168_960 * 4_096
    assert mine == 4_771_444_736
    # A token in a layer: norms 4 x 4096 / 2, heads (3 x 32 + 3 x 2) x 128 / 2, feed-forward 3 x 13696 / 2, in bf16;
    # 32 / 2 log-sum-exps in fp32.
    activations = 40 * 8_192 * (2 * (8_192 + 6_528 + 20_544) + 64)
    logits = 8_192 * 168_960 // 2 * 6 + 168_960 * 4_096 // 2 * 2
    expected = {
        "weights": 2 * mine,
        "gradients": 4 * mine,
        "optimizer": 12 * mine / 32,
        "activations": activations,
        "recomputation": 0,
        "logits": logits,
        "working": 0,
    }
    total = sum(expected.values())
    expected["margin"] = 4 * GIB + 0.05 * total
    (parts,) = found["memory"]
    assert parts == pytest.approx(expected | {"total": total + expected["margin"]})
    assert parts["total"] / GIB == pytest.approx(61.1, abs=0.05) and found["fits"]
    flops = 6 * (found["parameters"] - 168_960 * 4_096) + 6 * 40 * 8_192 * 4_096
    assert found["flops_per_token"] == flops == 61_156_048_896
    times = found["forecast"]
    assert times["tokens_per_second"] == pytest.approx(64 * 989e12 * 0.40 / flops) == pytest.approx(413_997, abs=1)
    between, block = 50_700 / 64 * 3_600, 14 * 9_542_557_696 / 64 / 10e9
    interval = math.sqrt(2 * block * between)
    lost = block / interval + (interval / 2 + 900) / between
    seconds = 238_419 * 512 * 8_192 / times["tokens_per_second"] * (1 + lost)
    assert times["days"] == pytest.approx(seconds / 86_400) and 27.9 < times["days"] < 28.1
    assert times["checkpoint_bytes"] == 14 * 9_542_557_696 and times["checkpoint_minutes"] == pytest.approx(
        interval / 60
    )
    assert times["failures"] == pytest.approx(seconds / between) and 0.8 < times["failures"] < 0.9
    assert times["bubble"] == 0 and times["micro_batches"] == 16


def test_every_step_of_inserter_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """Qwen2-7B's shape on 64 H100, tensor parallel 2: speech at 20 x real time, Whisper-large-v3 heard in training."""
    found = plan(capsys, "recipe=inserter_7b", "cluster=64xH100")
    steps = {step["step"]: step for step in found["steps"]}
    assert list(steps)[:3] == ["aloud", "vocabulary", "interleaved"] and not steps["heard"]["is_known"]
    # A layer: attention 3584 x 128 x (2 x 28 + 2 x 4), feed-forward 3 x 3584 x 18944, biases 128 x 36, norms 2 x 3584.
    layer = 3_584 * 128 * 64 + 3 * 3_584 * 18_944 + 128 * 36 + 2 * 3_584
    size = 28 * layer + 3_584 + 2 * 152_192 * 3_584
    assert found["parameters"] == size == 7_616_534_016
    aloud = steps["aloud"]
    assert aloud["gpu_hours"] == pytest.approx(301_540 / 20) and aloud["days"] == pytest.approx(15_077 / 64 / 24)
    assert aloud["bytes"] == pytest.approx(301_540 * 78e6)  # 23.5 TB
    clips = 301_540 * 3_600 / 3
    assert steps["interleaved"]["bytes"] == pytest.approx(35.5e9 * 4 + clips * 20)
    assert steps["corpora"]["cpu_hours"] == pytest.approx(100_000 / 5_600)
    assert steps["corpora"]["days"] == pytest.approx(100_000 / 5_600 / 64 / 24)
    tokens = 10_600 * 1_024 * 8_192
    heard = 2 * 637e6 * 50 * tokens * 0.55 / 25  # operations: tensor parallel processes share the hearing
    hours = heard / (989e12 * 0.4) / 3_600
    assert steps["lm"]["gpu_hours"] == pytest.approx(found["forecast"]["gpu_hours"] + hours) and 85 < hours < 90
    flops = 6 * (size - 152_192 * 3_584) + 6 * 28 * 8_192 * 3_584
    assert found["forecast"]["gpu_hours"] == pytest.approx(tokens * flops / (989e12 * 0.4) / 3_600, rel=2e-3)
    assert steps["lm"]["bytes"] == 3 * 14 * size and steps["model"]["bytes"] == 2 * size
    short = 6 * (size - 152_192 * 3_584) + 6 * 28 * 2_048 * 3_584
    tuned, again = 7_000 * 512 * 2_048, 2 * 637e6 * 50 * 7_000 * 512 * 2_048 * 0.55 / 25
    assert steps["chat"]["gpu_hours"] == pytest.approx((tuned * short + again) / (989e12 * 0.4) / 3_600, rel=2e-3)
    assert main(["recipe=inserter_7b", "cluster=64xH100"]) == 0
    shown = capsys.readouterr().out
    assert "15,077" in shown and "one after another" in shown


def test_published_intervals_between_checkpoints() -> None:
    """At 1,024 GPUs and 50,700 GPU-hours a failure: 1 s blocked every 10 min, 5 s every 22 min, 30 s every 54 min."""
    model, cluster = LmModelConfig(), Cluster(gpus=1024, kind="H100")
    for block, minutes, lost in ((1, 10, 0.0034), (5, 22, 0.0075), (30, 54, 0.018)):
        assumed = Assumptions(vocabulary_size=1024, block_seconds=block, restart_minutes=0)
        found = estimate_throughput(model, ParallelConfig(), LoopConfig(global_batch=8192), cluster, assumed, data=1024)
        assert found.checkpoint_minutes == pytest.approx(minutes, rel=0.03) and found.lost == pytest.approx(
            lost, rel=0.03
        )


def test_9b_on_one_gpu_is_refused_with_what_would_fit(capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, "recipe=9b", "cluster=1xH100", status=2)
    assert not found["fits"] and "forecast" not in found
    # Even with everything recomputed, weights, gradients and optimizer take 18 bytes a parameter.
    assert found["memory"][0]["total"] > 18 * found["parameters"] > found["available"]
    assert "smallest that fits is cluster=4xH100" in found["would_fit"]
    assert main(["recipe=9b", "cluster=1xH100"]) == 2
    assert "does not fit" in capsys.readouterr().out
    found = plan(capsys, "recipe=9b", "cluster=64xH100", "lm.parallel.tensor=1", "lm.parallel.sequence=false", status=2)
    assert found["would_fit"].startswith("on 64xH100 this fits: lm.parallel.tensor=2")
    words = found["would_fit"].split("fits: ")[1].split(" (")[0].split()
    assert plan(capsys, "recipe=9b", "cluster=64xH100", *words)["fits"]


@pytest.mark.parametrize("recipe", cluster_recipes())
@pytest.mark.parametrize("gpus", [8, 64, 512])
@pytest.mark.parametrize("kind", ["H100", "H200"])
def test_every_recipe_fits_its_clusters(recipe: str, gpus: int, kind: str) -> None:
    cluster = f"{gpus}x{kind}"
    assert (LAYOUTS / recipe / f"{cluster}.yaml").is_file()
    loaded = load_cluster_recipe([f"recipe={recipe}", f"cluster={cluster}"])
    layout = loaded.layout()
    assert layout is not None and layout.needed < 0.9 * layout.available
    tokens = loaded.loop.steps * loaded.loop.tokens_per_step
    assert loaded.loop.sequence_length == 8192
    if recipe == "inserter_7b":
        assert tokens == pytest.approx(88.9e9, rel=1e-3) and loaded.loop.global_batch == 1024
        return
    assert tokens == pytest.approx(1e12, rel=1e-3)
    rates = loaded.loop.learning_rate, loaded.loop.final_learning_rate, loaded.loop.beta1, loaded.loop.beta2
    assert rates == (6e-5, 6e-6, 0.9, 0.95) and loaded.loop.schedule == "linear"


def test_parts_of_all_processes_make_the_whole() -> None:
    """Weights divided by any layout are the model's; 1F1B holds most micro batches on the first stage."""
    model = LmModelConfig(layers=8, hidden=64, heads=8, kv_heads=4, ffn=96, qk_norm=True, qkv_bias=True)
    whole = model.num_parameters(512)
    for pipeline in (1, 2, 4):
        parallel = ParallelConfig(pipeline=pipeline)
        assert sum(stage_parameters(model, parallel, 512, stage) for stage in range(pipeline)) == whole
    assert [in_flight(ParallelConfig(pipeline=4), 16, stage) for stage in range(4)] == [4, 3, 2, 1]
    assert in_flight(ParallelConfig(pipeline=4), 2, 0) == 2
    # Interleaved: p (1 + (p - 1) / (p v)) on the first stage.
    assert in_flight(ParallelConfig(pipeline=4, virtual=2), 16, 0) == 4 * (1 + 3 / 8)
    assert bubble_share(ParallelConfig(pipeline=4), 16) == 3 / 19
    assert bubble_share(ParallelConfig(pipeline=4, virtual=2), 16) == 3 / 35
    loop = LoopConfig(sequence_length=1024, micro_batch=1, global_batch=16)
    full = memory_by_stage(model, ParallelConfig(pipeline=2), LoopConfig(**vars(loop) | {"recompute": "full"}),
                           vocabulary_size=512, data=1)  # fmt: skip
    none = memory_by_stage(model, ParallelConfig(pipeline=2), loop, vocabulary_size=512, data=1)
    assert full[0].activations < 0.2 * none[0].activations and full[0].weights == none[0].weights
    assert none[0].logits == 0 < none[1].logits


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe=7b"], "choose one of 1.5b, 9b"),
        (["cluster=64"], "NUMBERxKIND"),
        (["cluster=64xT4"], "NUMBERxKIND"),
        (["cluster=12xH100"], "give 8 or 16"),
        (["lm.parallel.tnsor=2"], "did you mean tensor"),
        (["lm.parallel.tensor=4"], "2 is not a multiple of parallel.tensor = 4"),
        (["assumed.mfu=40"], "assumed.mfu: found 40.0. give a value that is above 0 and below 1"),
        (["lm.parallel.context=2"], "reset_attention"),
    ],
)
def test_mistakes_are_told(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert words in printed and "Traceback" not in printed


def test_a_recipe_for_clusters_is_none_of_the_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    assert quickstart(["recipe=9b"]) == 2
    printed = capsys.readouterr().err
    assert "speechweave plan and submit" in printed and "Traceback" not in printed


def test_clusters() -> None:
    cluster = Cluster.parse("64xh200")
    assert (cluster.gpus, cluster.kind, cluster.nodes, cluster.per_node, str(cluster)) == (64, "H200", 8, 8, "64xH200")
    assert Cluster.parse("4xA100").nodes == 1
    with pytest.raises(UserError):
        Cluster.parse("0xH100")
