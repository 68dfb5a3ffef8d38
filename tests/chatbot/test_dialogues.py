"""Text dialogues read aloud and recorded ones tokenised: what comes out, and that nothing changes a byte of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatbot import dialogue_import, dialogues
from chatbot.data.dialogue_files import Dialogue, read_dialogues
from chatbot.data.dialogue_synthesis import DialogueSpeaker, pieces_of
from corpus.audio.files import write_audio
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.inference.generation import Generator
from runtime.errors import UserError
from tests.support.commands import Commands
from tests.support.odd_audio import check_warnings, write_odd_audio
from tests.support.permits import Permits, is_group_running, wait_for
from tokenizer.model import SpeechTokenizer

from .conftest import CODES, babble, make_vocabulary, save_lm

ROOT = Path(__file__).resolve().parents[2]
COUNT = 18  # a sixth of them cannot be spoken


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, and dialogues of one or two exchanges."""
    folder = tmp_path_factory.mktemp("dialogues")
    save_lm(folder / "model", make_vocabulary("abc"), positions=512)
    lines = []
    for number in range(COUNT):
        said = ["What is the capital?", "It is **rome**. Name the capital of it."] * (1 + number % 2)
        if number % 6 == 5:
            said[1] = "See https://example.org/a"
        roles = ["human", "gpt"] * 2
        turns = [{"from": role, "value": text} for role, text in zip(roles, said, strict=False)]
        lines.append(json.dumps({"id": f"d{number}", "conversations": turns}) + "\n")
    (folder / "texts.jsonl").write_text("".join(lines))
    assert dialogues.STAGE.main(words(folder, "whole")) == 0
    return folder


def words(folder: Path, out: str, *more: str) -> list[str]:
    given = {
        "texts": folder / "texts.jsonl",
        "texts_heldout": folder / "texts.jsonl",
        "model": folder / "model",
        "out": folder / out,
        "reply_speaker": "anna",
        "unit_dialogues": 4,
        "temperature": 1.0,
        "top_p": 1.0,
        "gate.min_per_letter": 0.0,
        "gate.max_per_letter": 6.0,
        "gate.min_distinct_share": 0.0,
    }
    return [f"{name}={value}" for name, value in given.items()] + list(more)


def unit_bytes(folder: Path) -> dict[str, bytes]:
    files = [file for part in ("dialogues", "heldout") for file in (folder / part).rglob("*.jsonl")]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files if ".try" not in file.name}


def test_dialogues_are_read_aloud(source: Path) -> None:
    found = read_dialogues(source / "whole" / "dialogues", 0.0)
    assert found.fingerprints.tokenizer == "abc"
    metrics = json.loads((source / "whole" / "metrics.json").read_text())
    assert metrics["gathered"] == 30 and metrics["ended.reply not to be read aloud"] == 6
    assert metrics["dialogues"] + sum(n for name, n in metrics.items() if name.startswith("left_out.")) == 30
    assert len(found.dialogues) >= 8
    askers: Counter[str] = Counter()
    for one in found.dialogues:
        assert [turn.text for turn in one.turns[:2]] == ["What is the capital?", "It is rome. Name the capital of it."]
        assert len(one.turns) == 2 + 2 * (int(one.id[1:]) % 2)
        assert all(turn.tokens is not None and len(turn.tokens) for turn in one.turns)
        assert {turn.speaker for turn in one.turns[1::2]} == {"anna"}
        askers.update({turn.speaker for turn in one.turns[::2]})
    assert set(askers) == {"anna", "bert"} and askers.total() == len(found.dialogues), "one voice asks in a dialogue"
    assert (
        unit_bytes(source / "whole")["dialogues/unit-000000.jsonl"]
        == unit_bytes(source / "whole")["heldout/unit-000000.jsonl"]
    )


def test_units_and_batches_change_no_dialogue(source: Path) -> None:
    assert dialogues.STAGE.main(words(source, "other", "unit_dialogues=7", "batch_size=3")) == 0
    plain = [
        [(one.id, [np.asarray(turn.tokens).tolist() for turn in one.turns]) for one in spoken(source / name)]
        for name in ("whole", "other")
    ]
    assert plain[0] == plain[1]


def test_what_is_put_up_with_may_be_changed_later(source: Path) -> None:
    kept = {name: (source / "whole" / name).stat().st_ino for name in unit_bytes(source / "whole")}
    assert dialogues.STAGE.main(words(source, "whole", "requests.retries=9", "max_rejected_share=0.9")) == 0
    assert {name: (source / "whole" / name).stat().st_ino for name in unit_bytes(source / "whole")} == kept


def spoken(folder: Path) -> list[Dialogue]:
    return read_dialogues(folder / "dialogues").dialogues


def test_kill_9_then_again_gives_the_same_bytes(source: Path, commands: Commands) -> None:
    out, permits = source / "killed", Permits(source / "permits")
    child = commands.sabotaged(f"permits={permits.folder}", "chatbot.dialogues", *words(source, out.name))
    permits.give(3)
    wait_for(lambda: len(list((out / "done").rglob("*.json"))) == 3 or child.poll() is not None)
    assert child.poll() is None
    child.kill()
    child.wait()
    wait_for(lambda: not is_group_running(child.pid))
    (out / "dialogues/unit-000003.try1-0abcd.jsonl").write_text("half a fi")
    kept = {name: (out / name).stat().st_ino for name in unit_bytes(out)}
    assert len(kept) == 3
    assert dialogues.STAGE.main(words(source, out.name, "batch_size=5")) == 0
    assert unit_bytes(out) == unit_bytes(source / "whole")
    assert all((out / name).stat().st_ino == inode for name, inode in kept.items()), "nothing is done twice"


def test_mistakes_are_named(source: Path) -> None:
    with pytest.raises(UserError, match=r"speaker 'carl'"):
        config = dialogues.DialoguesConfig(
            texts=str(source / "texts.jsonl"), model=str(source / "model"), reply_speaker="carl", out=str(source / "x")
        )
        dialogues.STAGE.execute(config)
    (source / "code.jsonl").write_text('{"instruction": "a", "response": "see `x()`"}\n')
    config = dialogues.DialoguesConfig(
        texts=str(source / "code.jsonl"), model=str(source / "model"), reply_speaker="anna", out=str(source / "y")
    )
    with pytest.raises(UserError, match=r"no dialogue that can be spoken \(1 for: reply not to be read aloud\)"):
        dialogues.STAGE.execute(config)
    config = dialogues.DialoguesConfig(
        texts=str(source / "texts.jsonl"), model=str(source / "model"), reply_speaker="anna", out=str(source / "z")
    )
    with pytest.raises(UserError, match="dialogues left out, most for: "):  # noise passes no gate
        dialogues.STAGE.execute(config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four!", ["One two.", "Three four!"]),
        ("a b c d e", ["a b", "c d e"]),
        ("a b c d e f g", ["a b", "c d e", "f g"]),
        ("", []),
    ],
)
def test_long_turns_are_read_piece_by_piece(text: str, expected: list[str]) -> None:
    assert pieces_of(text, 3) == expected


# -- recorded dialogues -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recordings(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "tokenizer").symlink_to(chain / "tokenizer")
    turns = []
    for number in range(6):
        for role in ("user", "assistant"):
            name = f"{number}-{role}.wav"
            write_audio(folder / "audio" / name, babble(number + (role == "user"), 0.5))
            turns.append({"audio_filepath": f"audio/{name}", "dialogue": number, "role": role, "text": "rome"})
    (folder / "turns.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    return folder


def imported(folder: Path, **changes: Any) -> dict[str, Any]:
    options = {"turns": str(folder / "turns.jsonl"), "tokenizer": str(folder / "tokenizer"), "unit_dialogues": 4}
    return dialogue_import.STAGE.execute(dialogue_import.DialogueImportConfig(**options | changes))


def test_recordings_become_tokens(recordings: Path) -> None:
    metrics = imported(recordings, out=str(recordings / "out"))
    assert (metrics["dialogues"], metrics["exchanges"], metrics["bad_records"]) == (6, 6, 0)
    tokenizer = SpeechTokenizer.from_pretrained(recordings / "tokenizer" / "artefact")
    found = read_dialogues(recordings / "out" / "dialogues")
    assert found.fingerprints.tokenizer == tokenizer.fingerprint
    for number, one in enumerate(found.dialogues):
        heard = tokenizer.encode([babble(number + 1, 0.5)])[0]
        assert one.id == str(number) and np.array_equal(one.turns[0].tokens, heard)  # type: ignore[arg-type]
        assert one.turns[0].audio is not None and one.turns[0].audio.is_file()
    imported(recordings, turns=str(recordings / "out" / "dialogues"), out=str(recordings / "again"), unit_dialogues=1)
    again = read_dialogues(recordings / "again" / "dialogues")
    assert [one.turns[1].tokens.tolist() for one in again.dialogues] == [  # type: ignore[union-attr]
        one.turns[1].tokens.tolist()  # type: ignore[union-attr]
        for one in found.dialogues
    ]


def test_bad_turns_are_counted(recordings: Path, tmp_path: Path) -> None:
    good = (recordings / "turns.jsonl").read_text().replace('"audio/', f'"{recordings}/audio/').splitlines()
    lines = [*good[:4], good[1], "{torn", good[4], *good[6:8], good[0]]
    missing = json.loads(good[8]) | {"audio_filepath": "nowhere.wav"}
    (tmp_path / "turns.jsonl").write_text("\n".join([*lines, json.dumps(missing), good[9]]))
    options = {"turns": str(tmp_path / "turns.jsonl"), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match=r"line 5: turns of dialogue 0 stand apart; 4 of 8 records are bad"):
        imported(recordings, **options)
    metrics = imported(recordings, **options, max_bad_share=0.6)
    assert (metrics["bad_records"], metrics["dialogues"], metrics["left_out.audio that cannot be read"]) == (4, 3, 1)
    with pytest.raises(UserError, match="left out, most for: a turn longer than max_seconds"):
        imported(recordings, out=str(tmp_path / "long"), max_seconds=0.1)


def test_a_turn_may_be_shorter_than_its_record_says_by_the_tolerance(recordings: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (recordings / "turns.jsonl").read_text().splitlines()]
    for row in rows:
        row["audio_filepath"] = f"{recordings}/{row['audio_filepath']}"
        row["duration"] = 0.9 if row["dialogue"] == 2 else 0.7  # of 0.5 s
    (tmp_path / "turns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"turns": str(tmp_path / "turns.jsonl"), "max_bad_share": 1.0}
    for tolerance, left_out in ((0.25, 1), (0.5, 0)):
        metrics = imported(recordings, out=str(tmp_path / str(tolerance)), duration_tolerance=tolerance, **options)
        assert metrics["dialogues"] == 6 - left_out
        assert metrics.get("left_out.audio that cannot be read", 0) == left_out


def test_recordings_that_look_wrong_are_counted(chain: Path, tmp_path: Path) -> None:
    files = write_odd_audio(tmp_path / "odd")
    rows = []
    for file in files:
        rows += [{"audio_filepath": str(file), "dialogue": file.name, "role": role} for role in ("user", "assistant")]
    (tmp_path / "turns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"turns": tmp_path / "turns.jsonl", "tokenizer": chain / "tokenizer", "out": tmp_path / "out"}
    config = dialogue_import.STAGE.compose([f"{name}={value}" for name, value in given.items()] + ["max_bad_share=0.5"])
    metrics = dialogue_import.STAGE.execute(config)
    assert (metrics["dialogues"], metrics["left_out.audio that cannot be read"]) == (2, 1)
    check_warnings(tmp_path / "out", metrics)


def test_questions_are_asked_as_in_training(chain: Path) -> None:
    """By default; shares that are given come first."""
    tokens = {"anna": 900, "bert": 100}
    counted = build_vocabulary(
        train_bpe(["a"], 300),
        num_speech_tokens=CODES,
        speech_tokenizer="abc",
        speakers=list(tokens),
        speaker_tokens=tokens,
    )
    backend = Generator.from_pretrained(chain / "lm" / "model")
    for given, expected in (({}, 0.1), ({"anna": 1.0, "bert": 1.0}, 0.5)):
        config = dialogues.DialoguesConfig(texts="", model="", out="", reply_speaker="anna", question_speakers=given)
        speaker = DialogueSpeaker(config, backend, counted)
        asked = [speaker.speakers(Dialogue(id=str(number), turns=[]))[0] for number in range(600)]
        assert abs(asked.count("bert") / 600 - expected) < 0.05
