"""One reader of lines: byte-order marks, encodings, line separators inside strings, halves of surrogate pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatbot.data.dialogue_files import DialogueFingerprints, read_dialogues
from chatbot.data.recorded_turns import read_turns
from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord, read_manifest
from lm.data.text_files import Columns, TextReader, cut_file, read_texts

MARK = b"\xef\xbb\xbf"
SEPARATED = "one\u2028two\x85three"


def row(id: str, text: str = "x") -> bytes:
    record = {"audio_filepath": "a.wav", "duration": 1.0, "text": text, "id": id}
    return json.dumps(record, ensure_ascii=False).encode()


def test_lines() -> None:
    lines = [MARK + b'{"a": 1}\r\n', b" \n", MARK + b"2\n", b"3"]
    assert list(numbered_lines(lines)) == [(1, b'{"a": 1}'), (3, MARK + b"2"), (4, b"3")]
    assert list(numbered_lines([MARK + b"1"], 5)) == [(5, MARK + b"1")]
    assert parse_json_line(f'"{SEPARATED}"'.encode()) == SEPARATED
    assert parse_json_line(rb'"\ud83d\ude00"') == "\U0001f600"
    for line, reason in {
        b'"caf\xe9"': r"not UTF-8 \(byte 0xe9 at 4\)",
        b"{": "not JSON",
        rb'{"turns": [{"text": "a\ud83d"}]}': r"half a surrogate pair in turns\[0\]\.text",
        b"[" * 100_000: "nested too deeply",
    }.items():
        with pytest.raises(ValueError, match=reason):
            parse_json_line(line)


def test_a_manifest_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    lines = [MARK + row("a"), row("b", SEPARATED), row("c", "café").decode().encode("latin-1")]
    lines += [row("d", "x").replace(b'"x"', rb'"\ud83d"'), row("e")]
    (tmp_path / "m.jsonl").write_bytes(b"\r\n".join(lines))
    manifest = read_manifest(tmp_path / "m.jsonl", 0.5)
    assert [one.id for one in manifest.utterances] == ["a", "b", "e"]
    assert manifest.utterances[1].text == SEPARATED
    assert [(one.place.split(", ")[1], one.reason.split(" (")[0]) for one in manifest.bad] == [
        ("line 3", "not UTF-8"),
        ("line 4", "half a surrogate pair in text, which is no Unicode"),
    ]


def test_the_first_of_hundreds_of_records_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "m.jsonl").write_bytes(MARK + b"\n".join(row(str(number)) for number in range(200)))
    manifest = read_manifest(tmp_path / "m.jsonl")
    assert (len(manifest.utterances), manifest.bad) == (200, [])


def test_texts_and_dialogues_are_read_alike(tmp_path: Path) -> None:
    texts = tmp_path / "t.jsonl"
    rows = [{"id": "1", "text": SEPARATED}, {"id": "2", "text": "b"}]
    content = MARK + "\n".join(json.dumps(one, ensure_ascii=False) for one in rows).encode()
    texts.write_bytes(content + b'\n{"id": "3", "text": "caf\xe9"}')
    found = read_texts(texts, 0.5)
    assert [one.text for one in found.documents] == [SEPARATED, "b"]
    assert "line 3" in found.bad[0].place and "not UTF-8" in found.bad[0].reason
    reader = TextReader(Columns())
    parts = [item for part in cut_file(str(texts), Columns(), most=2, most_bytes=1000) for item in reader.read(part)]
    assert parts[:2] == found.documents and isinstance(parts[2], BadRecord) and "line 3" in parts[2].place
    turns = [{"role": "user", "text": SEPARATED}, {"role": "assistant", "text": "b"}]
    dialogues = tmp_path / "d.jsonl"
    line = json.dumps({"id": "1", "turns": turns}, ensure_ascii=False)
    dialogues.write_bytes(MARK + (DialogueFingerprints().line() + line).encode() + b'\n{"id": "\\udc00"}')
    read = read_dialogues(dialogues, 0.5)
    assert read.dialogues[0].turns[0].text == SEPARATED
    assert "line 3" in read.bad[0].place and "half a surrogate pair in id" in read.bad[0].reason
    turned = [{"audio_filepath": "a.wav", "dialogue": "a", "offset": 2.0, "duration": 1.0} | turn for turn in turns]
    lines = [json.dumps(one, ensure_ascii=False).encode() for one in turned]
    (tmp_path / "turns.jsonl").write_bytes(MARK + b"\n".join([*lines, b'{"dialogue": "caf\xe9"}']))
    good, bad = read_turns(tmp_path / "turns.jsonl")
    assert not isinstance(good, BadRecord) and good.turns[0].text == SEPARATED
    assert good.turns[0].segment is not None and (good.turns[0].offset, good.turns[0].duration) == (2.0, 1.0)
    assert isinstance(bad, BadRecord) and "line 3" in bad.place and "not UTF-8" in bad.reason
