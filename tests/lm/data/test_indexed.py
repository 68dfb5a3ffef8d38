"""Indexed files are Megatron's, byte for byte, written at once or by workers in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.indexed import IdType, merge_shards, open_indexed, write_indexed, write_shard

DOCUMENTS = st.lists(st.lists(st.integers(0, 60000), min_size=1, max_size=9), max_size=12)


@pytest.mark.parametrize("id_type", [np.uint16, np.int32])
@settings(max_examples=25, deadline=None)
@given(documents=DOCUMENTS, edges=st.lists(st.integers(0, 12), max_size=4))
def test_files_are_megatrons(
    id_type: IdType, documents: list[list[int]], edges: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    folder, rows = tmp_path_factory.mktemp("indexed"), [np.array(ids, dtype=np.int64) for ids in documents]
    builder = IndexedDatasetBuilder(str(folder / "megatron.bin"), dtype=id_type)
    for row in rows:
        builder.add_document(row, [len(row)])
    builder.finalize(str(folder / "megatron.idx"))
    with write_indexed(folder / "whole", id_type) as add:
        for row in rows:
            add(row)
    shards = []
    for number, (start, stop) in enumerate(zip([0, *sorted(edges)], [*sorted(edges), len(rows)], strict=True)):
        shards.append((folder / f"{number}.ids", folder / f"{number}.len"))
        with write_shard(*shards[-1], id_type) as add:
            for row in rows[start:stop]:
                add(row)
    merge_shards(folder / "merged", shards, id_type)
    for suffix in ("bin", "idx"):
        expected = (folder / f"megatron.{suffix}").read_bytes()
        assert (folder / f"whole.{suffix}").read_bytes() == expected
        assert (folder / f"merged.{suffix}").read_bytes() == expected
    if documents:
        dataset = open_indexed(folder / "merged")
        assert [dataset[number].tolist() for number in range(len(dataset))] == documents


def test_a_failed_write_leaves_no_index(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_indexed(tmp_path / "whole", np.uint16) as add:
        add(np.array([1]))
        raise RuntimeError("stopped")
    assert not (tmp_path / "whole.idx").exists()
