"""Text dialogues of others: the layouts they come in, and which of their exchanges can be spoken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatbot.data.dialogue_files import Dialogue, DialogueTurn
from chatbot.data.filter import FilterConfig, plain, sift
from chatbot.data.text_dialogues import dialogue_of, read_text_dialogues
from corpus.manifest import BadRecord
from runtime.errors import UserError

ASKED, ANSWERED = "where is mary", "in the kitchen"
LAYOUTS = {
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED}]},
    "openai": {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]},
    "parts": {
        "messages": [
            {"role": "system", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": ASKED}]},
            {"role": "assistant", "content": ANSWERED},
            {"role": "user", "content": "thanks"},
        ]
    },
    "magpie": {"instruction": f" {ASKED}\n", "response": ANSWERED, "conversations": None},
    "alpaca": {"instruction": ASKED, "output": ANSWERED, "input": ""},
}


def said(dialogue: Dialogue) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in dialogue.turns]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_the_same(name: str) -> None:
    dialogue = dialogue_of(LAYOUTS[name], "place-1")
    assert said(dialogue) == [("user", ASKED), ("assistant", ANSWERED)]
    assert (dialogue.id, dialogue.system) == ("place-1", "")


def test_ids_and_system_prompts_are_kept() -> None:
    record = {"uuid": 7, "messages": [{"role": "system", "content": "be brief"}, *LAYOUTS["openai"]["messages"]]}
    dialogue = dialogue_of(record, "place-1")
    assert (dialogue.id, dialogue.system, len(dialogue.turns)) == ("7", "be brief", 2)


def messages(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "hello"} for role in roles]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([], "a JSON list instead of an object"),
        ({}, "neither conversations nor messages nor instruction and response"),
        ({"instruction": ASKED}, "neither conversations"),
        ({"instruction": ASKED, "response": " "}, "an empty message"),
        ({"conversations": {}}, "conversations is no list"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "a message of 'tool'"),
        ({"conversations": ["x"]}, "a message of 'x'"),
        (messages("user"), "no question with an answer"),
        (messages("assistant", "user"), "turn 1 is of the assistant"),
        (messages("user", "user", "assistant"), "turn 2 is of the user"),
        (messages("user", "system", "assistant"), "a system prompt in the midst"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "parts that are no text"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "no Unicode"),
    ],
)
def test_what_is_no_dialogue_is_told(record: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dialogue_of(record, "")


def test_files_of_every_kind_are_read_in_order(tmp_path: Path) -> None:
    records = [LAYOUTS["sharegpt"], {"id": 5}, LAYOUTS["sharegpt"]]
    lines = "\n".join(json.dumps(record) for record in records)
    (tmp_path / "a.jsonl").write_text(f"{lines}\n\n{{torn")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "c.json").write_text(json.dumps(records, indent=1).replace("[\n ", "[", 1))
    pq.write_table(pa.Table.from_pylist([LAYOUTS["sharegpt"]] * 3), tmp_path / "d.parquet", row_group_size=2)
    found = list(read_text_dialogues(str(tmp_path)))
    names = [item.id if isinstance(item, Dialogue) else item.place.rsplit("/", 1)[1] for item in found]
    assert names == [
        "a-0000001", "a.jsonl, line 2", "a-0000003", "a.jsonl, line 5",
        "b-0000001", "b.jsonl.gz, line 2", "b-0000003",
        "c-0000001", "c.json, record 2", "c-0000003",
        "d-0000000", "d-0000001", "d-0000002",
    ]  # fmt: skip
    assert [item.reason[:8] for item in found if isinstance(item, BadRecord)][1] == "not JSON"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(b"{}\n" * 9)
    whole = (tmp_path / "a.jsonl.gz").read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"a.jsonl.gz: cannot be decompressed beyond line"):
        list(read_text_dialogues(str(tmp_path)))
    (tmp_path / "b.json").write_text("[{")
    with pytest.raises(UserError, match="a list that is not JSON"):
        list(read_text_dialogues(str(tmp_path / "b.json")))


@pytest.mark.parametrize(
    ("question", "reply", "fault"),
    [
        ("where is mary?", "In the kitchen.", ""),
        ("where is mary?", "She is **in** the *kitchen*, at 5 o'clock.", ""),
        ("玛丽在哪里？", "她在厨房里。", ""),
        ("fix `foo(1)`", "yes", "question not to be read aloud"),
        ("where?", "See https://example.org/a", "reply not to be read aloud"),
        ("where?", "```python\nprint(1)\n```", "reply not to be read aloud"),
        ("where?", "# Kitchens\nare rooms", "reply not to be read aloud"),
        ("where?", "| a | b |\n|---|---|\n| 1 | 2 |", "reply not to be read aloud"),
        ("where?", r"It is $\frac{1}{2}$ mile.", "reply not to be read aloud"),
        ("where?", "🙂🙂🙂 ok", "reply mostly signs"),
        ("why " * 9, "yes", "question too long"),
        ("where?", "here " * 9, "reply too long"),
        ("where?", "- here\n- there\n- everywhere", "reply too long"),
    ],
)
def test_what_can_be_spoken(question: str, reply: str, fault: str) -> None:
    turns = [DialogueTurn(role="user", text=question), DialogueTurn(role="assistant", text=reply)]
    config = FilterConfig(max_question_words=8, max_reply_words=8)
    good = [DialogueTurn(role="user", text="who?"), DialogueTurn(role="assistant", text="mary")]
    found = sift(Dialogue(id="a", turns=turns), config, may_shorten=False)
    assert (found.fault, found.dialogue is None) == (fault, bool(fault))
    longer = sift(Dialogue(id="a", turns=[*good, *turns, *good]), config, may_shorten=False)
    assert longer.dialogue is not None and len(longer.dialogue.turns) == (2 if fault else 6)
    with_endpoint = sift(Dialogue(id="a", turns=[*good, *turns]), config, may_shorten=True)
    assert with_endpoint.long == ((3,) if fault == "reply too long" else ())


def test_dialogues_are_cut_at_their_greatest_length() -> None:
    turns = [DialogueTurn(role="user", text="who?"), DialogueTurn(role="assistant", text="mary")] * 5
    found = sift(Dialogue(id="a", turns=turns), FilterConfig(max_exchanges=2), may_shorten=False)
    assert found.dialogue is not None and len(found.dialogue.turns) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a **b** c", "a b c"),
        ("***b***, *c d*", "b, c d"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("one\n\n  two", "one two"),
        ("- one\n* two\n3. three", "one two three"),
        ("well-known 3.5", "well-known 3.5"),
    ],
)
def test_marks_that_are_only_seen_go(text: str, expected: str) -> None:
    assert plain(text) == expected
