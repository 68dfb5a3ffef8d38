import json
from pathlib import Path

import pytest

from lm.data.text_files import Columns, TextReader
from runtime.bulk.job import UnitFolder
from runtime.errors import UserError
from text2token.synthesis.config import SynthesizeConfig
from text2token.synthesis.plan import open_job, record_range


def job(folder: Path, sources: dict[str, str], passes: int = 1, size: int = 2) -> UnitFolder:
    config = SynthesizeConfig(
        texts=sources["train"],
        texts_heldout=sources.get("valid", ""),
        model="model",
        passes=passes,
        unit_documents=size,
        out=str(folder),
    )
    return open_job(folder, config)


def test_a_plan_is_made_once(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a"}\n' * 5)
    sources = {"train": str(texts), "valid": str(texts)}
    units = job(tmp_path / "out", sources).units
    assert units[0].name == "train/pass-0-unit-000000" and len(units) == 6
    assert list(job(tmp_path / "out", sources, passes=3, size=1).units) == list(units)
    first = next(TextReader(Columns()).read(record_range(units[1])))
    assert first.id == "texts-0000003"  # type: ignore[union-attr]


def test_passes_go_through_the_training_texts_only(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": str(number)}) + "\n" for number in range(5)))
    units = job(tmp_path / "out", {"train": str(texts), "valid": str(texts)}, passes=3).units
    assert [(unit.work["split"], unit.work["pass"]) for unit in units] == [
        *(("train", number) for number in (0, 0, 0, 1, 1, 1, 2, 2, 2)),
        *(("valid", 0) for _ in range(3)),
    ]
    assert len({unit.name for unit in units}) == len(units)


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no texts"):
        job(tmp_path / "out", {"train": str(tmp_path / "none.jsonl")})
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="an empty file"):
        job(tmp_path / "out", {"train": str(tmp_path / "empty.jsonl"), "valid": ""})
