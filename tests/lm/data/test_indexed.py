"""Indexed files are Megatron's, byte for byte, and read as it reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.indexed import IdType, IndexedFile, write_indexed
from runtime.errors import UserError

DOCUMENTS = st.lists(st.lists(st.integers(0, 60000), min_size=1, max_size=9), max_size=12)


@pytest.mark.parametrize("id_type", [np.uint16, np.int32])
@settings(max_examples=25, deadline=None)
@given(documents=DOCUMENTS)
def test_files_are_megatrons(
    id_type: IdType, documents: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

    folder, rows = tmp_path_factory.mktemp("indexed"), [np.array(ids, dtype=np.int64) for ids in documents]
    builder = IndexedDatasetBuilder(str(folder / "megatron.bin"), dtype=id_type)
    for row in rows:
        builder.add_document(row, [len(row)])
    builder.finalize(str(folder / "megatron.idx"))
    with write_indexed(folder / "ours", id_type) as add:
        for row in rows:
            add(row)
    for suffix in ("bin", "idx"):
        assert (folder / f"ours.{suffix}").read_bytes() == (folder / f"megatron.{suffix}").read_bytes()
    if documents:
        ours, megatrons = IndexedFile(folder / "ours"), IndexedDataset(str(folder / "megatron"))
        assert [ours.read(number).tolist() for number in range(len(ours))] == documents
        for number, row in enumerate(documents):
            middle = len(row) // 2
            assert ours.read(number, middle).tolist() == megatrons.get(number, offset=middle).tolist() == row[middle:]
            assert ours.read(number, middle, 1).tolist() == row[middle : middle + 1]


def test_a_failed_write_leaves_no_index(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_indexed(tmp_path / "whole", np.uint16) as add:
        add(np.array([1]))
        raise RuntimeError("stopped")
    assert not (tmp_path / "whole.idx").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.idx", b"", "a.idx: .*cannot be read"),
        ("a.idx", b"not an index of anything at all" * 9, "a.idx: .*not a whole index"),
        ("a.bin", b"\1\0", "a.bin: .*1 ids where the index has 3"),
        ("a.bin", None, "a.bin: .*no such file"),
    ],
)
def test_torn_files_are_named(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    with write_indexed(tmp_path / "a", np.uint16) as add:
        add(np.array([1, 2]))
        add(np.array([3]))
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        IndexedFile(tmp_path / "a")
