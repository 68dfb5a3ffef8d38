"""Answers and judgements of commands that die by SIGKILL, again and again, against those of unbroken commands."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from evaluation import score
from evaluation.answers.answering import ANSWERED
from evaluation.answers.config import ScoreConfig
from runtime.fork_server import ForkedCommand
from tests.support.chat_server import ChatServer, Reply, chat_server, message
from tests.support.commands import HANG_SECONDS, ROOT, Commands
from tests.support.scored_set import write_rows

ITEMS = 30
SETTINGS = ("requests.wait_seconds=0.001", "requests.retries=1", "requests.max_failed_share=0.08")
OUTPUTS = ("answers.jsonl", "answers.json", "judgements.jsonl", "judge.json", "scores.json", "scores.md", "items.jsonl")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {"id": f"q{one}", "question": f"how much is {one} and 1", "answers": [f"{one + 1}"]} for one in range(ITEMS)
    ]
    write_rows(tmp_path / "set" / "set.jsonl", rows)
    return tmp_path / "set"


def knows(body: dict[str, Any]) -> Reply:
    """The model: right, but for one empty answer and one that always fails."""
    number = int(body["messages"][-1]["content"].split()[-3])
    if number == 7:
        return 500, {"error": "broken"}
    return message("" if number == 11 else f"It is {number + 1}.")


def judges(body: dict[str, Any]) -> Reply:
    """The judge: one answer always fails, one is refused, one gets nonsense; all else is correct."""
    said = body["messages"][-1]["content"]
    if "It is 3." in said:
        return 500, {"error": "broken"}
    if "It is 4." in said:
        return message(None, refusal="I will not judge that.")
    return message("as you like" if "It is 5." in said else '{"analysis": "a", "judgment": "correct"}')


@contextmanager
def held_after(served: ChatServer, number: int) -> Iterator[threading.Event]:
    """From its ``number``-th request on the server answers nothing, until the context is left."""
    reply, seen, is_held, release = served.reply, len(served.asked), threading.Event(), threading.Event()

    def hold(body: dict[str, Any]) -> Reply:
        if len(served.asked) - seen <= number:
            return reply(body)
        is_held.set()
        release.wait(HANG_SECONDS)
        return 0, None

    served.reply = hold
    try:
        yield is_held
    finally:
        served.reply = reply
        release.set()


def start(commands: Commands, module: str, words: Sequence[str], said: IO[bytes]) -> ForkedCommand:
    """The command of a stage, which asks endpoints and needs none of the libraries of models."""
    return commands.server.start(module, words, output=said.fileno(), errors=said.fileno())


def kill_after(commands: Commands, served: ChatServer, number: int, module: str, words: Sequence[str]) -> None:
    """Start the command, and kill it when it waits for the reply after ``number`` others."""
    with held_after(served, number) as is_held, tempfile.TemporaryFile() as said:
        command = start(commands, module, words, said)
        try:
            assert is_held.wait(HANG_SECONDS) and command.poll() is None
        finally:
            command.kill()
            assert command.wait(HANG_SECONDS) == -signal.SIGKILL


def run(commands: Commands, module: str, words: Sequence[str]) -> None:
    with tempfile.TemporaryFile() as said:
        status = start(commands, module, words, said).wait(HANG_SECONDS)
        said.seek(0)
        assert status == 0, said.read().decode()


def written_lines(journal: Path) -> list[bytes]:
    """The whole lines of a journal; a last one that a kill cut does not count."""
    return [line for line in journal.read_bytes().splitlines(True) if line.endswith(b"\n")] if journal.exists() else []


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*") if file.name in OUTPUTS}


def test_answers_and_judgements_after_kills_are_those_of_the_unbroken_run(
    commands: Commands, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shared = ("benchmark=trivia_qa", f"data={data}", *SETTINGS)

    def chain(name: str, kills: Sequence[int], concurrency: int) -> dict[str, bytes]:
        """Answers, judgements and scores, each of the first two killed after so many replies."""
        root, own = tmp_path / name, (*shared, f"requests.concurrency={concurrency}")
        with chat_server(knows) as served:
            words = [*own, "direction=t2t", f"model={served.url}", f"out={root / 'answers'}"]
            for number in kills:
                kill_after(commands, served, number, "evaluation.answer", words)
                assert not (root / "answers" / "answers.json").exists()
            kept, asked = len(written_lines(root / "answers" / ANSWERED)), len(served.asked)
            run(commands, "evaluation.answer", words)
            again = len(served.asked) - asked - (ITEMS - kept + 1)
            # Requests on their way when the command died may be counted after its death, one a thread but the held one.
            assert 0 <= again < concurrency, "what is kept is not asked; one fails twice"
        with chat_server(judges) as served:
            words = [*own, f"answers={root / 'answers'}", "model=j", "media=[text]", f"out={root / 'judged'}"]
            for number in kills:
                kill_after(commands, served, number, "evaluation.judge", [*words, f"url={served.url}"])
                assert not (root / "judged" / "judge.json").exists()
            run(commands, "evaluation.judge", [*words, f"url={served.url}"])
            (root / "judged" / "judge.json").write_bytes(without_port((root / "judged" / "judge.json").read_bytes()))
        made = score.STAGE.execute(
            ScoreConfig(
                out=str(root / "scores"),
                benchmark="trivia_qa",
                data=str(data),
                answers=str(root / "answers"),
                judgements=str(root / "judged"),
            )
        )
        assert (made["text.judge.unanswered"], made["text.judge.unreadable"]) == (2, 1)
        table = (root / "scores" / "scores.md").read_text()
        assert "j judges judge (T->T): 28 answers, 2 without a reply; 26 replies, 1 unreadable" in table
        return contents(root)

    unbroken = chain("unbroken", (), 1)
    assert sorted(Path(name).name for name in unbroken) == sorted(OUTPUTS)
    assert chain("killed", (1, 9), 1) == unbroken
    assert chain("killed_at_once", (9,), 4) == unbroken


def without_port(content: bytes) -> bytes:
    record = json.loads(content)
    return json.dumps(record | {"url": record["url"].rsplit(":", 1)[0]}).encode()
