import json
from pathlib import Path

import pytest

from lm.data.vocabulary import Vocabulary
from tests.support.commands import Commands
from tests.support.permits import Permits, wait_for
from tests.support.small_synthesis import unit_bytes, words
from text2token import synthesize


def test_metrics_and_units(reference: Path) -> None:
    metrics = json.loads((reference / "whole/metrics.json").read_text())
    assert metrics["documents"] == 2 * 22 + 5 and len(unit_bytes(reference / "whole")) == 2 * 6 + 2
    assert 0.3 <= metrics["chosen_ratio"] < 0.4 and 0 < metrics["realised_ratio"] <= metrics["chosen_ratio"]
    assert metrics["tokens"] > 0 and metrics["tokens_per_second"] > 0


@pytest.mark.parametrize("more", [["batch_size=3"], ["processes=2", "batch_size=5"]])
def test_speed_options_change_no_byte(reference: Path, model_folder: Path, more: list[str]) -> None:
    out = f"fast-{len(more)}"
    assert synthesize.STAGE.main(words(reference, model_folder, out, *more)) == 0
    assert unit_bytes(reference / out) == unit_bytes(reference / "whole")


def test_kill_9_then_again_gives_the_same_bytes(reference: Path, model_folder: Path, commands: Commands) -> None:
    out, permits = reference / "killed", Permits(reference / "permits")
    arguments = words(reference, model_folder, out.name)
    for wanted in (2, 5):  # killed twice, once this many units are there
        permits.give(wanted + 1)  # more than are awaited: the kill may hit a unit that was begun
        child = commands.sabotaged(f"permits={permits.folder}", "text2token.synthesize", *arguments)
        wait_for(lambda wanted=wanted: len(unit_bytes_now(out)) >= wanted)  # type: ignore[misc]
        assert child.poll() is None
        child.kill()
        child.wait()
        permits.withdraw()
        (out / "train").mkdir(parents=True, exist_ok=True)
        (out / "train/pass-0-unit-000000.try1-0abcd.parquet").write_bytes(b"half a file")
    kept = {name: (out / name).stat().st_ino for name in unit_bytes_now(out)}
    assert 5 <= len(kept) < 14
    again = words(reference, model_folder, out.name, "batch_size=7")
    assert synthesize.STAGE.main(again) == 0
    assert unit_bytes(out) == unit_bytes(reference / "whole")
    assert all((out / name).stat().st_ino == inode for name, inode in kept.items())  # nothing twice


def unit_bytes_now(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("pass-*.parquet") if ".try" not in path.name]


def test_mistakes(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["speakers.dora=1"], "'dora': no tag for it"),
        (["model=" + str(tmp_path)], "no vocabulary"),
        (["texts=" + str(tmp_path / "none")], "no such file"),
        (["temperature=-1"], "option temperature"),
        (["bulk.executor=moon"], "option bulk.executor"),
        (["spans.ratio=2"], "spans.ratio"),
        (["dtype=float8"], "option dtype"),
        (["gate.max_per_letter=0", "gate.allowance=0", "max_rejected_share=0.2"], "spans fail the gate"),
    ):
        arguments = words(tmp_path, model_folder, "out", *more)
        kept = [word for word in arguments if word.split("=")[0] not in {w.split("=")[0] for w in more}] + more
        assert synthesize.STAGE.main(kept) == 2
        assert message in capsys.readouterr().err


def test_bad_lines_are_counted_up_to_a_share(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path, model_folder, "out")
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write('{"id": "x", "text": "  "}\n{"id": "x", "te\n')
    assert synthesize.STAGE.main([*arguments, "max_bad_share=0.5"]) == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["bad_lines"] == 4 and metrics["documents"] == 49  # two passes
    assert synthesize.STAGE.main(arguments) == 2
    assert "texts.jsonl, line 23: an empty text" in capsys.readouterr().err


@pytest.mark.slow
def test_a_broken_model_is_named_by_workers_too(
    model_folder: Path, tmp_path: Path, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    vocabulary.save_pretrained(broken)
    (broken / "config.json").write_text((model_folder / "config.json").read_text())
    (broken / "model.safetensors").write_bytes(b"nothing")
    arguments = [word for word in words(tmp_path, model_folder, "out") if not word.startswith("model=")]
    assert synthesize.STAGE.main([*arguments, f"model={broken}", "processes=2"]) == 2
    assert "no loadable model" in capsys.readouterr().err
