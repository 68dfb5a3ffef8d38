"""The file format of dialogues: what is written is read back, and what is wrong is named or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.data.dialogue_files import (
    Dialogue,
    DialogueFingerprints,
    DialogueTurn,
    parse_dialogue,
    read_dialogues,
    record_of,
    write_dialogues,
)
from runtime.errors import UserError

MARKS = DialogueFingerprints(tokenizer="abc", codebook_size=16)
WORDS = st.text(alphabet="ab é?", min_size=1, max_size=12).map(str.strip).filter(bool)
CODES = st.lists(st.integers(0, 15), min_size=1, max_size=5).map(lambda codes: np.array(codes, dtype=np.uint16))


def turns(role: str) -> st.SearchStrategy[DialogueTurn]:
    audio = st.none() | st.just(Path("/somewhere/a.wav"))
    return st.builds(
        DialogueTurn, role=st.just(role), text=WORDS, tokens=st.none() | CODES, audio=audio,
        speaker=st.just("") | WORDS,
        style=st.sampled_from(["", "slowly"]),
    )  # fmt: skip


DIALOGUES = st.builds(
    lambda id, system, pairs: Dialogue(id=id, system=system, turns=[turn for pair in pairs for turn in pair]),
    st.text(alphabet="xyz", min_size=1), st.just("") | WORDS,
    st.lists(st.tuples(turns("user"), turns("assistant")), min_size=1, max_size=3),
)  # fmt: skip


def plain(dialogue: Dialogue) -> dict[str, Any]:
    return record_of(dialogue, Path("/somewhere"))


@given(DIALOGUES)
def test_a_record_is_read_back(dialogue: Dialogue) -> None:
    record = json.loads(json.dumps(plain(dialogue)))
    assert plain(parse_dialogue(record, "", Path("/somewhere"), 16)) == record
    assert len(dialogue.exchanges()) == len(dialogue.turns) / 2


def exchange(text: str = "hello", **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "text": text} | more, {"role": "assistant", "text": "good day"}]


def lines(*records: Any) -> str:
    return MARKS.line() + "".join(json.dumps(record) + "\n" for record in records)


def test_files_of_a_folder_are_read_in_order(tmp_path: Path) -> None:
    said = DialogueTurn(role="user", audio=tmp_path / "audio" / "a.wav", tokens=np.array([3, 15], dtype=np.uint16))
    reply = DialogueTurn(role="assistant", text="good day")
    for name in ("b/two", "a/one"):
        write_dialogues(tmp_path / f"{name}.jsonl", [Dialogue(id=name, turns=[said, reply])], MARKS)
    found = read_dialogues(tmp_path)
    assert [one.id for one in found.dialogues] == ["a/one", "b/two"] and found.fingerprints == MARKS and not found.bad
    first = found.dialogues[0].turns[0]
    assert first.tokens is not None and first.tokens.dtype == np.uint16 and first.tokens.tolist() == [3, 15]
    assert first.audio is not None and first.audio.resolve() == tmp_path / "audio" / "a.wav"
    assert "/tmp" not in (tmp_path / "a" / "one.jsonl").read_text(), "paths are relative: the folder can be moved"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (5, "a JSON int instead of an object"),
        ({"id": "a"}, "no turns"),
        ({"turns": []}, "no turns"),
        ({"turns": [{"text": "hello"}]}, "turn 1 has no role"),
        ({"turns": exchange()[1:]}, "turn 1 is of the assistant, not of the user"),
        ({"turns": exchange()[:1]}, "the last turn has no reply"),
        ({"turns": exchange()[:1] * 2}, "turn 2 is of the user, not of the assistant"),
        ({"turns": exchange(" ")}, "turn 1 has neither text nor tokens nor audio"),
        ({"turns": exchange(tokens=[3, 16])}, "turn 1: tokens are no list of codes below 16"),
        ({"turns": exchange(tokens=[-1])}, "codes below 16"),
        ({"turns": exchange(tokens=[True])}, "codes below 16"),
        ({"turns": exchange(tokens="ab")}, "codes below 16"),
        ({"turns": exchange(audio=7)}, "turn 1: audio is no path"),
        ({"turns": exchange(speaker=7)}, "turn 1: speaker is no text"),
        ({"turns": exchange(), "system": []}, "system is no text"),
    ],
)
def test_bad_records_are_counted_and_named(tmp_path: Path, record: Any, reason: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(lines({"turns": exchange()}, record))
    with pytest.raises(UserError, match=rf"line 3: .*{reason}.*1 of 2 records are bad"):
        read_dialogues(file)
    found = read_dialogues(file, max_bad_share=0.5)
    assert [one.id for one in found.dialogues] == ["a-0000002"] and reason in found.bad[0].reason


def test_torn_lines_and_equal_ids_are_bad(tmp_path: Path) -> None:
    assert parse_dialogue({"id": 0, "turns": exchange()}, "place", tmp_path, 16).id == "0"
    good = json.dumps({"id": "x", "turns": exchange()})
    (tmp_path / "a.jsonl").write_bytes(lines().encode() + f"{good}\n{good}\n{good[:-3]}\n\n".encode() + b"\xff\xfe\n")
    found = read_dialogues(tmp_path, max_bad_share=0.8)
    assert [one.reason.split(" (")[0] for one in found.bad] == ["id 'x' was used before", "not JSON", "not UTF-8"]


def test_a_file_must_tell_whose_tokens_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"turns": exchange()}) + "\n")
    with pytest.raises(UserError, match=r"line 1: no header of dialogues.*its first line must be like"):
        read_dialogues(tmp_path)
    (tmp_path / "a.jsonl").write_text(lines({"turns": exchange()}))
    (tmp_path / "b.jsonl").write_text(DialogueFingerprints().line() + json.dumps({"turns": exchange()}) + "\n")
    with pytest.raises(UserError, match=r"b.jsonl: tokens of tokenizer \(none\), but of abc before"):
        read_dialogues(tmp_path)
    with pytest.raises(UserError, match="no dialogues"):
        read_dialogues(tmp_path / "nowhere")
    (tmp_path / "b.jsonl").unlink()
    (tmp_path / "a.jsonl").write_text(lines())
    with pytest.raises(UserError, match="no dialogue"):
        read_dialogues(tmp_path)
