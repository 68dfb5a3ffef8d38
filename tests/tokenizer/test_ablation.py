"""The ablation: grids as written, one table beside the paper's, a kill or a failed point costs nothing else."""

from __future__ import annotations

import importlib
import json
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from recipes import quickstart
from recipes.ablate_tokenizer import load_ablation, main
from recipes.ablation.files import markdown_table
from recipes.ablation.grid import make_points, parse_overrides
from recipes.ablation.plan import AblateConfig
from recipes.ablation.table import PAPER_HEADS, PAPER_ROWS, Scores, table
from runtime.errors import UserError
from runtime.fit import FittingLoop

STEPS = 12


class HereRanks:
    """Runs a stage in this process, which has NeMo imported; otherwise as `recipes.launch.Ranks`."""

    def __init__(
        self, module: str, arguments: list[str], *, processes: int, threads: int, log: Path, server: object
    ) -> None:
        assert processes == 1 and threads >= 1
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as self.output, redirect_stderr(self.output):
            self.status = importlib.import_module(module).STAGE.main(arguments)
        self.log = log

    def poll(self) -> int:
        return self.status

    def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "Ranks", HereRanks)


def arguments(corpus: Path, out: Path, *more: str) -> list[str]:
    tiny = ["model.width=32", "model.heads=2", "model.subsampling_channels=8", "model.num_labels=40"]
    tiny += ["vq.kmeans_batches=2", "data.batch_seconds=12", f"fit.steps={STEPS}", "fit.checkpoint_every=5"]
    scored = ["evaluate.noise.snrs=[20,5]", "evaluate.noise.max_utterances=3", "evaluate.stream_utterances=1"]
    given = [f"corpus={corpus}", f"out={out}", "model.frame_rate=25,12.5", "vq.codebook_size=32"]
    return [*given, *tiny, *scored, *more]


def read(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "ablation.json").read_text()))


@pytest.fixture(scope="module")
def unbroken(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ablation") / "unbroken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, "Ranks", HereRanks)
        assert main(arguments(spoken, out)) == 0
    return out


def test_the_table_holds_what_the_stages_measured(unbroken: Path) -> None:
    text, page = (unbroken / "ablation.md").read_text(), (unbroken / "ablation.html").read_text()
    assert [point["point"] for point in read(unbroken)["points"]] == ["frame rate 25", "frame rate 12.5"]
    for folder, rate, bits in (("frame_rate-25", "25", "125"), ("frame_rate-12.5", "12.5", "62.5")):
        report = json.loads((unbroken / "points" / folder / "evaluation/report.json").read_text())
        metrics, split = report["metrics"], report["splits"]["heldout_sentence"]
        expected = [rate, "32", bits, str(STEPS)]
        expected += [f"{100 * split[name]:.1f} %" for name in ("wer_with_vq", "wer_without_vq")]
        row = next(line for line in text.splitlines() if line.startswith(f"| {rate} "))
        assert [cell.strip() for cell in row.strip("|").split("|")][:6] == expected
        for value in (metrics["token_edit_distance_20db"], metrics["token_edit_distance_5db"]):
            assert f"{100 * value:.1f} %" in row and f"{100 * value:.1f} %" in page
        assert f"{metrics['perplexity']:.4g}" in row
    assert "UED 20 dB" in text and "UED 5 dB" in text and "reconstruction WER" not in text
    assert "frame_rate=25,12.5" in text and "torch" in text and "seeds: `1`" in text
    assert page.count("<table>") == 3 and "data:image/png;base64" in page
    assert (unbroken / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_the_papers_table_stands_beside_with_its_printing_error(unbroken: Path) -> None:
    text = (unbroken / "ablation.md").read_text()
    for row in PAPER_ROWS:
        assert len(row) == len(PAPER_HEADS)
        if row[3] != "–" and row[2] != "–":  # bit/s = Hz x bits of a code
            assert float(row[1]) * (int(row[2].replace(",", "")).bit_length() - 1) == float(row[3])
    assert "14.41 % *" in text and "printing error" in text and "2.10 %" in text


def test_points_share_data_and_shares_of_the_steps(unbroken: Path) -> None:
    points = read(unbroken)["points"]
    configs = [
        json.loads((unbroken / f"points/frame_rate-{rate}/tokenizer/run.json").read_text())["config"]
        for rate in ("25", "12.5")
    ]
    for config in configs:
        assert config["fit"]["warmup_steps"] == int(0.06 * STEPS) and config["vq"]["start_step"] == int(0.3 * STEPS)
        assert config["data"]["batch_seconds"] == 12 and config["seed"] == 1
    assert [config["model"]["chunk"] for config in configs] == [16, 8]  # 0.64 s
    assert all(point["training"]["steps"] == STEPS for point in points)


def test_a_killed_ablation_goes_on_and_ends_the_same(
    unbroken: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second training, between two checkpoints; the first point is not touched again."""
    advance, out = FittingLoop.advance, tmp_path / "broken"

    def advance_until(loop: FittingLoop, loss: Any) -> float:
        if loop.step == 7 and "frame_rate-12.5" in str(loop.run.folder):
            raise KeyboardInterrupt
        return advance(loop, loss)

    monkeypatch.setattr(FittingLoop, "advance", advance_until)
    assert main(arguments(spoken, out)) == 130
    monkeypatch.setattr(FittingLoop, "advance", advance)
    trained = out / "points/frame_rate-25/tokenizer/done.json"
    before = trained.stat().st_mtime_ns
    assert main(arguments(spoken, out)) == 0
    assert trained.stat().st_mtime_ns == before

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            timing = ("seconds", "rtf", "git_commit")
            return {k: without_times(v) for k, v in value.items() if not any(word in k for word in timing)}
        return [without_times(entry) for entry in value] if isinstance(value, list) else value

    assert without_times(read(out)["points"]) == without_times(read(unbroken)["points"])


def test_a_failed_point_is_reported_and_the_others_go_on(
    spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    few = "model.num_labels=4,40"  # 4 labels are too few for the corpus's letters
    assert main(arguments(spoken, out, few, "model.frame_rate=12.5")) == 1
    report = read(out)
    assert [bool(point["splits"]) for point in report["points"]] == [False, True]
    assert list(report["failed"]) == ["train.num_labels-4", "evaluate.num_labels-4"]
    text = (out / "ablation.md").read_text()
    assert "## Failed" in text and "option model.num_labels: 4, but the transcripts have 16" in text
    assert next(line for line in text.splitlines() if line.startswith("| 4 ")).count("–") > 5
    assert (
        "failed: train.num_labels-4: ended with status 2: speechweave tokenizer train: error" in capsys.readouterr().err
    )


def test_equal_cpu_time_gives_steps_by_their_cost(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipes.ablate_tokenizer import affordable_steps

    given = arguments(spoken, tmp_path, "budget=cpu_seconds", "cpu_seconds=9", "calibration_steps=3")
    ablation = load_ablation(given)
    costs = {"frame_rate-25": 0.6, "frame_rate-12.5": 0.3}
    for point in ablation.points:
        assert affordable_steps(ablation, point) == 0
        folder = tmp_path / "calibration" / point.name
        folder.mkdir(parents=True)
        (folder / "done.json").write_text("{}")
        (folder / "metrics.json").write_text(json.dumps({"fit_cpu_seconds": costs[point.name]}))
    steps = {point.name: affordable_steps(ablation, point) for point in ablation.points}
    assert steps == {"frame_rate-25": 45, "frame_rate-12.5": 90}
    planned = ablation.plan(steps).steps
    assert planned["train.frame_rate-12.5"].options.fit.steps == 90  # type: ignore[attr-defined]
    assert planned["train.frame_rate-12.5"].options.vq.start_step == 27  # type: ignore[attr-defined]
    assert ablation.calibration().steps["calibrate.frame_rate-25"].options.fit.steps == 3  # type: ignore[attr-defined]


def test_equal_cpu_time_runs_whole_and_keeps_its_steps(spoken: Path, tmp_path: Path) -> None:
    """The steps come from a measurement; called again, it is not measured anew."""
    given = arguments(spoken, tmp_path, "budget=cpu_seconds", "cpu_seconds=0.5", "calibration_steps=4")
    assert main(given) == 0
    first = read(tmp_path)
    assert main(given) == 0
    again = read(tmp_path)
    assert [point["training"] for point in first["points"]] == [point["training"] for point in again["points"]]
    assert all(point["training"]["steps"] >= 4 and point["splits"] for point in first["points"])
    assert "equal CPU time" in first["about"]["budget"]


def test_a_vocoder_adds_reconstruction(spoken: Path, tmp_path: Path) -> None:
    steps = load_ablation(arguments(spoken, tmp_path, f"vocoder={tmp_path}/vocoder")).plan().steps
    for name in ("frame_rate-25", "frame_rate-12.5"):
        folder = tmp_path / "points" / name
        assert steps[f"tokens.{name}"].options.tokenizer == f"{folder}/tokenizer/artefact"  # type: ignore[attr-defined]
        assert steps[f"decoder.{name}"].options.tokens == f"{folder}/tokens"  # type: ignore[attr-defined]
        assert steps[f"judged.{name}"].options.resynthesis == f"{folder}/resynthesis"  # type: ignore[attr-defined]


def test_a_recogniser_measures_what_each_decoder_says(spoken: Path, tmp_path: Path) -> None:
    given = arguments(spoken, tmp_path, f"vocoder={tmp_path}/vocoder", "recogniser=http://localhost:1/v1")
    steps = load_ablation(given).plan().steps
    judged, folder = steps["judged.frame_rate-25"], tmp_path / "points" / "frame_rate-25"
    options: Any = judged.options
    assert judged.config.run == "evaluation.decoder_set" and judged.folder == folder / "judged"
    assert options.tokens.startswith(f"{folder}/tokens/") and options.decoder == f"{folder}/decoder"
    assert options.data.startswith(str(spoken)) and options.speaking.voices == ["known"]
    assert "resynthesis.frame_rate-25" not in steps
    with pytest.raises(UserError, match=r"option .*recogniser.*give vocoder="):
        load_ablation(arguments(spoken, tmp_path, "recogniser=http://localhost:1/v1"))


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ([], ["frame rate 50", "frame rate 12.5"]),
        (["model.frame_rate=25"], ["one point"]),
        (["model.frame_rate=25,6.25"], ["frame rate 25", "frame rate 6.25"]),
        (["vq.kind=vq,fsq"], [f"frame rate {rate}, kind {kind}" for rate in (50, 12.5) for kind in ("vq", "fsq")]),
        (["model.frame_rate=25", "seed=1,2"], ["seed 1", "seed 2"]),
        (["model.frame_rate=choice(25,50)"], ["frame rate 25", "frame rate 50"]),
        (["model.frame_rate=12.5", "model.front_layers=range(1,4)"], [f"front layers {n}" for n in (1, 2, 3)]),
    ],
)
def test_grids(words: list[str], labels: list[str]) -> None:
    points = make_points({"model.frame_rate": [50, 12.5]}, {"fit.steps": 5}, {}, parse_overrides(words))
    assert [point.label for point in points] == labels
    assert len({point.name for point in points}) == len(points)


def test_what_goes_with_a_frame_rate_gives_way_to_the_command_line() -> None:
    own = {"50": {"vq.codebook_size": 128, "model.chunk": 32}, "12.5": {"vq.codebook_size": 512}}
    train = {"vq.codebook_size": 7, "model.width": 9}

    def sizes(*words: str) -> list[Any]:
        points = make_points({"model.frame_rate": [50.0, 12.5]}, train, own, parse_overrides(words))
        return [point.options["vq.codebook_size"] for point in points]

    assert sizes() == [128, 512]
    assert sizes("vq.codebook_size=64") == [64, 64]
    assert sizes("vq.codebook_size=64,32") == [64, 32, 64, 32]
    assert sizes("model.frame_rate=25") == [7]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nonsense"], "key=value"),
        (["ablate.budgt=steps"], "budgt"),
        (["budget=time"], "ablate.budget"),
        (["model.frame_rate=12.5,12.5"], "each value once"),
        (["recipe=quickstart"], "ablate_tokenizer_librispeech"),
        (["model.fram_rate=50"], "frame_rate"),
        (["model.frame_rate=13"], "frame_rate"),
        (["vq.kind=fsq,other"], "vq.kind"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"corpus={tmp_path}", f"out={tmp_path}/out", *words]) == 2
    assert named in capsys.readouterr().err


def test_the_recipes_are_whole(tmp_path: Path) -> None:
    for name in ("ablate_tokenizer", "ablate_tokenizer_librispeech"):
        ablation = load_ablation([f"recipe={name}", f"out={tmp_path}/{name}", f"corpus={tmp_path}"])
        assert [point.frame_rate for point in ablation.points] == [50, 25, 12.5, 6.25]
        assert len(ablation.plan().steps) == 8
        for point in ablation.points:
            chunk, left = point.options["model.chunk"], point.options["model.left_context"]
            assert left % chunk == 0 and 0.6 < chunk / point.frame_rate < 2.1
    assert "corpus" in load_ablation([f"out={tmp_path}/built"]).plan().steps


def test_points_without_codebook_or_results_have_dashes(tmp_path: Path) -> None:
    points = make_points({"vq.enabled": [True, False]}, {}, {}, parse_overrides([]))
    splits = {"heldout_sentence": {"wer_without_vq": 0.25}}
    heads, rows = table([Scores(points[0]), Scores(points[1], metrics={"frame_rate_hz": 12.5}, splits=splits)])
    assert dict(zip(heads, rows[0], strict=True))["… without VQ"] == "–"
    assert dict(zip(heads, rows[1], strict=True))["… without VQ"] == "25.0 %"
    assert markdown_table(["a", "b"], [["1", "22"]])[-1] == "| 1 | 22 |"
    with pytest.raises(UserError, match="warmup_share"):
        AblateConfig(out="x", warmup_share=1.0)
