"""Published layouts of sets: JSON lines, JSON, CSV, Parquet with audio bytes, Arrow; bad rows are named and counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.audio.files import SAMPLE_RATE, encode_wav, write_audio
from evaluation.benchmarks.spoken_qa import TRIVIA_QA
from evaluation.sets.item import EvaluationSet
from evaluation.sets.reading import read_set
from runtime.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"question": "Who wrote it?", "answers": ["Ann", "Ann B."]},
    {"question": "Where, now?", "answers": ["Paris"]},
]


def read(source: Path, **options: Any) -> EvaluationSet:
    return read_set("trivia_qa", source, TRIVIA_QA.read_item, **options)


def as_lines(folder: Path) -> None:
    (folder / "a.jsonl").write_text("\ufeff" + "".join(json.dumps(row) + "\n\n" for row in ROWS), encoding="utf-8")


def as_list(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(ROWS))


def as_csv(folder: Path) -> None:
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answers"])
        writer.writerows([row["question"], json.dumps(row["answers"])] for row in ROWS)


def as_parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")


def as_arrow_stream(folder: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def as_arrow_file(folder: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("write", [as_lines, as_list, as_csv, as_parquet, as_arrow_stream, as_arrow_file])
def test_every_layout_gives_the_same_items(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    found = read(tmp_path)
    assert [(item.id, item.prompt, item.references) for item in found.items] == [
        ("a-00000", "Who wrote it?", ("Ann", "Ann B.")),
        ("a-00001", "Where, now?", ("Paris",)),
    ]
    other = tmp_path / "other"
    other.mkdir()
    as_lines(other)
    assert read(other).digest == found.digest


def test_the_layout_of_trivia_qa_itself(tmp_path: Path) -> None:
    row = {"question": "Q", "question_id": "tc_1", "answer": {"value": "A", "aliases": ["A", "B"], "type": "x"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (item,) = read(tmp_path).items
    assert (item.id, item.references) == ("tc_1", ("A", "B"))


def test_audio_as_a_file_and_as_bytes(tmp_path: Path) -> None:
    sound = np.sin(np.arange(SAMPLE_RATE) / 20).astype(np.float32) / 2
    write_audio(tmp_path / "x.wav", sound)
    content = encode_wav(sound)
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[0] | {"audio": "x.wav"}))
    pq.write_table(
        pa.Table.from_pylist([ROWS[1] | {"audio": {"bytes": content, "path": None}}]), tmp_path / "b.parquet"
    )
    found = read(tmp_path, needs_audio=True)
    audios = [item.audio for item in found.items]
    assert all(audio is not None and len(audio.read()) == SAMPLE_RATE for audio in audios)
    write_audio(tmp_path / "x.wav", sound / 2)
    assert read(tmp_path).digest != found.digest, "the audio belongs to a set's identity"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", "a JSON list"),
        (b'{"answers": ["x"]}', "no column question or Questions"),
        (b'{"question": "", "answers": ["x"]}', "question is ''"),
        (b'{"question": "Q"}', "no text in answers"),
        (b'{"question": "Q", "answers": []}', "no text in answers"),
        (b'{"question": "Q", "answers": "x", "audio": "gone.wav"}', "no audio file"),
        (b'{"question": "Q", "answers": "x", "audio": 3}', "audio is a int"),
        (b'{"question": "Q", "answers": "x", "id": "first"}', "'first' was used before"),
        (b'{"question": "\xff", "answers": "x"}', "not UTF-8"),
    ],
)
def test_bad_rows_are_named_with_their_line(tmp_path: Path, row: bytes, reason: str) -> None:
    good = b'{"question": "First?", "answers": "yes", "id": "first"}\n'
    (tmp_path / "a.jsonl").write_bytes(good + row + b"\n")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: .*") as caught:
        read(tmp_path)
    assert reason in str(caught.value)
    found = read(tmp_path, max_bad_share=0.5)
    assert len(found.items) == 1 and [bad.place.rpartition(", ")[2] for bad in found.left_out] == ["line 2"]


def test_repeated_prompts_are_items_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(ROWS[0]) + "\n" for _ in range(3)))
    found = read(tmp_path)
    assert len(found.items) == 3 and found.repeated == ("a-00001", "a-00002")


def test_missing_and_broken_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table of an evaluation set"):
        read(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match="not readable as Parquet"):
        read(tmp_path)
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.json").write_text("[{]")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "a.json").write_text("")
    with pytest.raises(UserError, match="no item of trivia_qa"):
        read(tmp_path)
    as_lines(tmp_path)
    with pytest.raises(UserError, match="no audio"):
        read(tmp_path, needs_audio=True)
