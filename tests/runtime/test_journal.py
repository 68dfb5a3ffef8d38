from __future__ import annotations

from pathlib import Path

from runtime.journal import Journal


def test_records_come_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "journal.jsonl") as journal:
        journal.append({"a": 1}, {"b": "ü"})
    with Journal(tmp_path / "new" / "journal.jsonl") as journal:
        assert journal.records == [{"a": 1}, {"b": "ü"}]
        journal.append({"c": None})
        assert journal.records[-1] == {"c": None}


def test_a_torn_line_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        journal.append({"text": "füße"}, {"text": "two"})
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with Journal(file) as journal:
            count = len(journal.records)
            assert count == whole[:length].count(b"\n")
            journal.append(*[{"text": "füße"}, {"text": "two"}][count:])
        assert file.read_bytes() == whole
