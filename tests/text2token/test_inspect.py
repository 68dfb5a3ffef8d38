"""The commands that look at a synthesis: inspect and status."""

import re
from pathlib import Path

import pytest

from text2token import inspect, pack, status
from text2token.packing.config import PackConfig
from text2token.synthesis.unit_file import read_unit


def test_documents_of_a_synthesis(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(reference / "whole")
    assert inspect.main([folder, "--documents", "3", "--skip", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("== texts-") == 3 and "⟦" in printed and " tokens: " in printed
    source = read_unit(sorted((reference / "whole/train").glob("*.parquet"))[0])[0][1]
    plain = re.sub("‹[^›]*›", "", printed.split("\n")[1]).replace("⟦", "").replace("⟧", "")
    assert plain == source.text
    assert inspect.main([folder, "id=texts-3"]) == 0
    assert capsys.readouterr().out.startswith("== texts-3: ")
    assert inspect.main([folder, "--rejected"]) == 0 and "‹text: " in capsys.readouterr().out
    assert inspect.main([folder, "--id", "none"]) == 2
    assert "no such document" in capsys.readouterr().err


def test_documents_of_a_packed_corpus(
    reference: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.STAGE.execute(
        PackConfig(synthesised=str(reference / "whole"), vocabulary=str(model_folder), out=str(tmp_path))
    )
    capsys.readouterr()
    packed = str(tmp_path / "interleaved")
    assert inspect.main([packed, "--vocabulary", str(model_folder), "--documents", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("== ") == 2 and "speech:" in printed
    assert inspect.main([packed]) == 2 and "option --vocabulary: not given" in capsys.readouterr().err


def test_status(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([str(reference / "whole")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "units    14 of 14 done, 0 at work, 0 given up" and "49 documents" in lines[1]
    assert status.main([str(reference)]) == 2 and "no job" in capsys.readouterr().err
