from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatbot.answers import answering
from chatbot.respond import STAGE, RespondConfig
from chatbot.settings import ChatSettings
from corpus.audio.files import read_audio
from corpus.world.dialogues import QuestionDialogue, QuestionTurn, dialogue_line
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.artefact import file_digest
from runtime.errors import UserError
from tests.support.odd_audio import SECONDS, check_warnings, write_odd_audio

from .conftest import CAPITALS


def config(chain: Path, out: Path, **changes: Any) -> RespondConfig:
    options: dict[str, Any] = {
        "out": str(out),
        "bundle": str(chain / "bundle"),
        "manifest": str(chain / "corpus" / "heldout_sentence.jsonl"),
        "batch": 2,
    }
    return RespondConfig(**{**options, **changes})


def answers(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def test_distinct_questions_voices_in_turn(chain: Path, tmp_path: Path) -> None:
    metrics = STAGE.execute(config(chain, tmp_path))
    rows = answers(tmp_path)
    assert metrics["questions"] == len(rows) == len({row["question"] for row in rows}) == len(CAPITALS)
    assert sorted(row["speaker"] for row in rows) == ["anna", "anna", "bert", "bert"]
    for row in rows:
        assert set(row) == {
            *("id", "audio", "question", "heard", "said", "reply_audio", "speaker", "seconds", "is_cut"),
            *("tokens_before_speech", "speech_blocks"),
        }
        assert (tmp_path / row["audio"]).is_file()
        if row["reply_audio"]:
            assert len(read_audio(tmp_path / row["reply_audio"])) / 16000 == pytest.approx(row["seconds"], abs=1e-3)
            assert row["speech_blocks"] == 1 and row["tokens_before_speech"] >= 3  # transcript, text and their marks
        else:
            assert row["seconds"] == row["speech_blocks"] == 0
    limited = STAGE.execute(config(chain, tmp_path / "limited", limit=3, voices=["bert"]))
    assert (limited["questions"], limited["voices"]) == (3, 1)


def test_places_of_speech_in_a_reply(chain: Path) -> None:
    v = Vocabulary.from_pretrained(chain / "vocabulary" / "vocabulary")
    text, speech, mark = v.encode_text("a")[0], v.speech_offset, v.special(SpecialToken.BEGIN_OF_AUDIO)
    assert answering.speech_places([text] * 13 + [speech] * 26 + [text] * 4 + [speech] * 9, v) == (13, 2)
    assert answering.speech_places([text, text, mark, speech, speech], v) == (3, 1)
    assert answering.speech_places([speech], v) == (0, 1)
    assert answering.speech_places([text, text], v) == (2, 0) and answering.speech_places([], v) == (0, 0)


def test_dialogues_are_asked_turn_by_turn_and_remembered(chain: Path, tmp_path: Path) -> None:
    from corpus.manifest import read_manifest

    manifest = str(chain / "corpus" / "heldout_sentence.jsonl")
    utterances = read_manifest(manifest).utterances
    first, second, third = (utterance.id for utterance in utterances[:3])
    file = tmp_path / "dialogues.jsonl"
    asked = {"a": (first, second), "b": (third,)}
    turns = {
        id: [QuestionTurn(name, "", "paris", "paris", "capital", "first") for name in ids] for id, ids in asked.items()
    }
    file.write_text("".join(dialogue_line(QuestionDialogue(id, some)) + "\n" for id, some in turns.items()))
    bundle = tmp_path / "remembering"
    shutil.copytree(chain / "bundle" / "bundle", bundle)
    said = {}
    for remembered in (0, 1):
        settings = ChatSettings.load(bundle)
        settings.reply.remembered_turns = remembered
        settings.reply.max_text_tokens, settings.reply.max_reply_seconds = 4, 0.4  # two turns fit the little model
        settings.save(bundle)
        out = tmp_path / f"remembered-{remembered}"
        metrics = STAGE.execute(config(chain, out, dialogues=str(file), bundle=str(bundle)))
        assert metrics["questions"] == 3
        assert [row["id"] for row in answers(out)] == [first, second, third]
        said[remembered] = [(row["heard"], row["said"], row["seconds"]) for row in answers(out)]
    assert said[0][0] == said[1][0] and said[0][2] == said[1][2]
    assert said[0][1] != said[1][1], "the second question was answered as if it were the first"
    file.write_text(file.read_text().replace(second, "nobody"))
    with pytest.raises(UserError, match="no utterance 'nobody'"):
        STAGE.execute(config(chain, tmp_path / "out", dialogues=str(file)))


def test_an_interrupted_run_ends_as_an_unbroken_one(
    chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"kind": "", "batch": 3, "limit": 0}
    manifest = str(chain / "corpus" / "train.jsonl")  # 9 distinct texts
    STAGE.execute(config(chain, tmp_path / "unbroken", manifest=manifest, **options))
    original, calls = answering.answer, 0

    async def killed(conversation: Any, question: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return await original(conversation, question)

    monkeypatch.setattr(answering, "answer", killed)
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        STAGE.execute(config(chain, broken, manifest=manifest, **options))
    journal = broken / "answered.jsonl"
    assert len(journal.read_text().splitlines()) == 3
    journal.write_text(journal.read_text()[:-40])  # the kill tore the last line
    STAGE.execute(config(chain, broken, manifest=manifest, **options))
    assert calls == 5 + 9  # the fifth was killed, and the torn line was one of the batch before
    for name in ("answers.jsonl", "audio"):
        assert file_digest(broken / name) == file_digest(tmp_path / "unbroken" / name)


def test_bad_questions_are_skipped_up_to_a_share(chain: Path, tmp_path: Path) -> None:
    from corpus.manifest import Utterance, read_manifest, write_manifest

    utterances = read_manifest(chain / "corpus" / "heldout_sentence.jsonl").utterances
    bad = tmp_path / "bad.flac"
    bad.write_bytes(b"no audio")
    unreadable = Utterance("bad", bad, 1.0, "name the capital of peru", "anna", kind="question")
    write_manifest(tmp_path / "questions.jsonl", [*utterances, unreadable])
    changes = {"manifest": str(tmp_path / "questions.jsonl")}
    with pytest.raises(UserError, match=r"bad.flac: not readable as audio.*1 of 5 records are bad"):
        STAGE.execute(config(chain, tmp_path / "out", **changes))
    metrics = STAGE.execute(config(chain, tmp_path / "out", **changes, max_bad_share=0.2))
    assert (metrics["questions"], metrics["skipped"]) == (4, 1)


def test_nothing_to_answer_is_explained(chain: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no utterance of kind 'story'.*its kinds are question; its voices are anna"):
        STAGE.execute(config(chain, tmp_path, kind="story"))


def test_questions_that_look_wrong_are_counted(chain: Path, tmp_path: Path) -> None:
    from corpus.manifest import Utterance, write_manifest

    files = write_odd_audio(tmp_path / "odd")
    asked = [Utterance(file.name, file, SECONDS, f"name {file.name}", "anna", kind="question") for file in files]
    write_manifest(tmp_path / "questions.jsonl", asked)
    changes = {"manifest": str(tmp_path / "questions.jsonl"), "max_bad_share": 0.9}
    metrics = STAGE.execute(config(chain, tmp_path / "out", **changes))
    assert (metrics["questions"], metrics["skipped"]) == (2, 1)
    check_warnings(tmp_path / "out", metrics)
