import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.manifest import BadRecord
from lm.data.text_files import (
    BrokenFile,
    Columns,
    RecordRange,
    TextDocument,
    TextReader,
    cut_file,
    file_parts,
    iterate_texts,
    list_files,
)
from runtime.errors import UserError

LINES = st.lists(
    st.sampled_from(['{"text": "a b"}', '{"id": "x", "text": "é"}', "", "broken", '{"text": ""}']), max_size=20
)
PLAIN = Columns()


def parts_of(
    source: str | Path, most: int = 3, most_bytes: int = 1 << 20, columns: Columns = PLAIN
) -> list[RecordRange]:
    return [
        part for file in list_files(str(source)) for part in cut_file(file, columns, most=most, most_bytes=most_bytes)
    ]


def read(parts: list[RecordRange], columns: Columns = PLAIN) -> list[TextDocument | BadRecord]:
    reader = TextReader(columns)
    return [item for part in parts for item in reader.read(part)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(LINES, LINES, st.integers(1, 7), st.booleans(), st.sampled_from([30, 1000]))
def test_parts_hold_every_line_once(
    tmp_path: Path, first: list[str], second: list[str], size: int, ends_with_newline: bool, most_bytes: int
) -> None:
    first = ['{"text": "one"}', *first]
    (tmp_path / "texts").mkdir(exist_ok=True)
    for name, lines in (("a", first), ("b", second)):
        content = "\n".join(lines) + ("\n" if ends_with_newline else "")
        (tmp_path / f"texts/{name}.jsonl").write_text(content)
    parts = parts_of(tmp_path / "texts", size, most_bytes)
    assert max(part.count for part in parts) <= size
    assert read(parts) == [
        item for item in iterate_texts(tmp_path / "texts") if getattr(item, "reason", "") != "an empty file"
    ]


def documents(count: int) -> list[dict[str, str]]:
    return [{"id": f"d{number}", "text": f"text {number} é 你好 \u0000 🎈", "url": "x"} for number in range(count)]


def as_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write(folder: Path, layout: str, rows: list[dict[str, str]]) -> Path:
    file = folder / f"texts.{layout}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if layout == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=7)
    elif layout == "jsonl.zst":
        half = len(rows) // 2  # two frames, as concatenated files have
        codec = pa.Codec("zstd")
        file.write_bytes(b"".join(codec.compress(as_lines(part), asbytes=True) for part in (rows[:half], rows[half:])))
    else:
        file.write_bytes(gzip.compress(as_lines(rows)) if layout.endswith("gz") else as_lines(rows))
    return file


@pytest.mark.parametrize("layout", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("place", ["path", "folder", "file://", "memory://"])
def test_layouts_and_places_hold_the_same(tmp_path: Path, layout: str, place: str) -> None:
    rows = documents(20)
    file = write(tmp_path / "data/CC-MAIN-2024-10", layout, rows)
    source = {"path": str(file), "folder": str(tmp_path), "file://": f"file://{tmp_path}"}.get(place)
    if source is None:
        import fsspec

        source = f"memory://{tmp_path.name}/{layout}"
        with fsspec.open(f"{source}/{file.name}", "wb") as copy:
            copy.write(file.read_bytes())
    expected = [TextDocument(row["id"], row["text"]) for row in rows]
    parts = parts_of(source)
    assert read(parts) == expected
    assert read(parts[::-1]) == [one for part in parts[::-1] for one in read([part])]  # in any order
    assert sorted((one.id for one in read(parts[::-1])), key=lambda id: int(id[1:])) == [row["id"] for row in rows]


def test_columns_can_be_named(tmp_path: Path) -> None:
    rows = [{"doc": "a", "body": "one two"}, {"doc": "b", "body": ""}, {"doc": None, "body": "three"}]
    columns = Columns("body", "doc")
    for layout in ("jsonl", "parquet"):
        items = read(parts_of(write(tmp_path / layout, layout, rows), columns=columns), columns)  # type: ignore[arg-type]
        assert [getattr(item, "text", None) for item in items] == ["one two", None, "three"]
        assert isinstance(items[1], BadRecord) and items[1].reason == "an empty text"
        assert items[2].id.startswith("texts-000000")  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"no column 'text' among \['doc', 'body'\]"):
        parts_of(tmp_path / "parquet")


@pytest.mark.parametrize("layout", ["jsonl.gz", "jsonl.zst", "parquet"])
def test_a_torn_file_is_named(tmp_path: Path, layout: str) -> None:
    file = write(tmp_path, layout, documents(2000))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(UserError, match=rf"texts.{layout}"):
        parts_of(file)


def test_a_users_mess_is_listed(tmp_path: Path) -> None:
    good = {"id": "good", "text": "שלום עולם 🎈🏳️‍🌈 \u0000 tab\t"}
    lines = [
        json.dumps(good).encode(),
        b"broken {",
        b'{"id": "x", "text": ""}',
        b'{"text": "\\ud83d"}',
        b"\x00\xff\xfe\x80",
        b"[" * 100_000,
        b"17",
        b'{"text": 5}',
        json.dumps({"id": "long", "text": "word " * 200_000}).encode(),
        b'{"id": "torn", "te',
    ]
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join(lines))
    items = read(parts_of(tmp_path / "texts.jsonl"))
    bad = [item for item in items if isinstance(item, BadRecord)]
    assert [item.id for item in items if isinstance(item, TextDocument)] == ["good", "long"]
    assert items[0] == TextDocument("good", good["text"]) and len(bad) == 8
    assert all("texts.jsonl, line" in item.place and item.reason for item in bad)


def test_long_documents_make_small_parts(tmp_path: Path) -> None:
    file = write(tmp_path, "jsonl", [{"text": "x" * 1000}] * 9)
    assert [part.count for part in parts_of(file, most=100, most_bytes=3500)] == [3, 3, 3]
    assert [part.count for part in parts_of(file, most=100, most_bytes=10)] == [1] * 9


def by_bytes(source: Path | str, most_bytes: int, columns: Columns = PLAIN) -> list[Any]:
    """What is read of a source cut by bytes, part by part, last part first, in the source's order."""
    parts = [one.part for file in list_files(str(source)) for one in file_parts(file, most_bytes)]
    read = [list(TextReader(columns).read_part(part)) for part in reversed(parts)]
    return [item for items in reversed(read) for item in items]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(LINES, st.booleans(), st.integers(1, 90), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_parts_by_bytes_hold_every_line_once(
    tmp_path: Path, lines: list[str], ends_with_newline: bool, most_bytes: int, newline: str, has_mark: bool
) -> None:
    content = newline.join(lines) + (newline if ends_with_newline else "")
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" * has_mark + content.encode())
    whole, cut = list(iterate_texts(tmp_path / "a.jsonl")), by_bytes(tmp_path / "a.jsonl", most_bytes)
    assert [item if isinstance(item, BadRecord) else item.text for item in cut] == [
        item if isinstance(item, BadRecord) else item.text for item in whole
    ]
    expected = [f"line {number}" for number, line in enumerate(lines, 1) if line in ("broken", '{"text": ""}')]
    if content or has_mark:
        assert [item.place.rsplit(", ")[1] for item in cut if isinstance(item, BadRecord)] == expected


@pytest.mark.parametrize("layout", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("place", ["path", "file://", "memory://"])
def test_parts_by_bytes_of_all_layouts_hold_the_same(tmp_path: Path, layout: str, place: str) -> None:
    rows = documents(40)
    file = write(tmp_path, layout, rows)
    source = {"path": str(file), "file://": f"file://{file}"}.get(place, f"memory://{tmp_path.name}/{file.name}")
    if place == "memory://":
        import fsspec

        with fsspec.open(source, "wb") as copy:
            copy.write(file.read_bytes())
    expected = [TextDocument(row["id"], row["text"]) for row in rows]
    for most_bytes in (1, 200, 1 << 20):
        assert by_bytes(source, most_bytes) == expected
    parts = list(file_parts(source, 200))
    assert len(parts) == 1 if layout.endswith(("gz", "zst")) else len(parts) > 3


@pytest.mark.parametrize("layout", ["jsonl.gz", "jsonl.zst", "parquet"])
def test_what_a_torn_file_holds_is_read_and_the_tear_is_named(tmp_path: Path, layout: str) -> None:
    file = write(tmp_path, layout, documents(2000))
    file.write_bytes(file.read_bytes()[:-300])
    *read, last = by_bytes(tmp_path, 1 << 20)
    assert isinstance(last, BrokenFile) and last.file == str(file)
    assert last.reason.startswith("not readable as Parquet" if layout == "parquet" else "cannot be decompressed beyond")
    assert all(isinstance(item, TextDocument) for item in read) and bool(read) == (layout != "parquet")


def test_files_without_texts_are_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    write(tmp_path / "b", "parquet", [{"body": f"text {number}"} for number in range(40)])
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "c.parquet")
    (tmp_path / "d.jsonl").write_bytes('{"text": "déjà"}\n'.encode("latin-1"))
    (tmp_path / "e.jsonl").write_text('{"text": "one"}\n', encoding="utf-16")
    empty, column, rows, latin, *wide = by_bytes(tmp_path, 100)
    assert empty == BadRecord(str(tmp_path / "a.jsonl"), "an empty file")
    assert column == BrokenFile(str(tmp_path / "b/texts.parquet"), "no column 'text' among ['body']")
    assert rows == BadRecord(str(tmp_path / "c.parquet"), "an empty file")
    assert latin == BadRecord(f"{tmp_path / 'd.jsonl'}, line 1", "not UTF-8 (byte 0xe9 at 11)")
    assert wide[0] == BadRecord(f"{tmp_path / 'e.jsonl'}, line 1", "not UTF-8 (byte 0xff at 0)")


def test_row_groups_are_numbered_through_the_file(tmp_path: Path) -> None:
    rows = [{"text": "" if number == 23 else f"text {number}"} for number in range(30)]
    file = write(tmp_path, "parquet", rows)
    (bad,) = (item for item in by_bytes(file, 1) if isinstance(item, BadRecord))
    assert bad == BadRecord(f"{file}, row 23", "an empty text")
