"""Scores of accounts: slots in order, whole replies, and the judge on the recordings of the right replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.accounts import STAGE as ACCOUNTS
from corpus.manifest import read_manifest
from corpus.world.account_config import AccountCorpusConfig
from corpus.world.questions import read_questions
from evaluation.accounts import STAGE
from evaluation.question_answering.account_config import AccountsConfig
from evaluation.question_answering.account_scoring import common_slots
from runtime.artefact import write_text
from runtime.errors import UserError
from tests.support.small_accounts import write_small_corpus

RIGHT = "tom found a red ball tom put the red ball in the box now the ball is in the box"


@pytest.mark.parametrize(
    ("given", "slots"),
    [
        (RIGHT, 9),
        ("Tom found a red ball. Tom put the red ball in the box. Now the ball is in the box.", 9),
        (RIGHT.replace("red", "green"), 7),
        ("box red", 1),
        ("it was may", 0),
        (f"{RIGHT} anna", 9),
    ],
)
def test_slots_count_in_their_order(given: str, slots: int) -> None:
    assert common_slots(RIGHT, given) == slots


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("accounts")
    corpus = str(write_small_corpus(root / "corpus", "tom was happy."))
    small = {"accounts": 2, "heldout_accounts": 3, "workers": 1}
    ACCOUNTS.execute(AccountCorpusConfig(corpus=corpus, out=str(root / "made"), **small))
    return root / "made"


def write_answers(accounts: Path, folder: Path, wrong: str) -> None:
    """Answers in the recordings of the right replies; one is silent, and the text of the first has a wrong thing."""
    questions = read_questions(accounts)
    spoken = read_manifest(accounts / "heldout_sentence.jsonl").utterances
    recorded = {one.text: str(one.audio.absolute()) for one in spoken if one.kind == "reply"}
    lines = []
    for number, one in enumerate(one for one in spoken if one.kind == "question"):
        reply = questions[one.text].reply
        record = {"id": one.id, "audio": str(one.audio.absolute()), "question": one.text, "heard": one.text}
        record |= {"said": " ".join([*reply.split()[:-1], wrong]) if number == 0 else reply, "speaker": one.speaker}
        record |= {"reply_audio": recorded[reply] if number else None}
        lines.append(json.dumps(record | {"tokens_before_speech": 13 + number, "speech_blocks": 3}) + "\n")
    write_text(folder / "answers.jsonl", "".join(lines))


def test_the_stage(accounts: Path, tmp_path: Path) -> None:
    write_answers(accounts, tmp_path / "answers", "nothing")
    folders = {"accounts": str(accounts), "answers": str(tmp_path / "answers"), "out": str(tmp_path / "out")}
    config = AccountsConfig(**folders, processes=1)
    metrics = STAGE.execute(config)
    rows = [json.loads(line) for line in (tmp_path / "out/details.jsonl").read_text().splitlines()]
    slots = sum(row["slots"] for row in rows)
    assert metrics["requests"] == 3 and metrics["text_slots"] == pytest.approx(1 - 1 / slots, abs=1e-5)
    assert metrics["text_whole"] == pytest.approx(2 / 3, abs=1e-5) and metrics["heard_wer"] == 0
    assert rows[0]["speech_slots"] == 0 and not rows[0]["is_speech_whole"], "it was silent"
    assert metrics["floor_wer"] < 0.2 and metrics["speech_slots"] > 0.5
    assert (metrics["tokens_before_speech"], metrics["speech_blocks"]) == (14, 3)
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    low, high = scores["text_slots"]["interval"]
    assert low < metrics["text_slots"] <= high and set(scores["text_slots"]["subsets"]) <= {"put", "moved"}


def test_answers_of_an_earlier_version_are_refused(accounts: Path, tmp_path: Path) -> None:
    write_answers(accounts, tmp_path / "answers", "nothing")
    file = tmp_path / "answers/answers.jsonl"
    file.write_text(file.read_text().replace("speech_blocks", "blocks"))
    config = AccountsConfig(accounts=str(accounts), answers=str(file.parent), out=str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"line 1.*speech_blocks"):
        STAGE.execute(config)
