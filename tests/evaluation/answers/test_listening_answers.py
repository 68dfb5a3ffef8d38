"""A language model that hears, asked a benchmark's questions in speech and in text."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from corpus.audio.files import read_audio, write_audio
from evaluation import answer
from evaluation.answers.config import AnswerConfig
from lm.data.chat_template import our_template
from lm.data.formats import chat_prompt
from lm.data.vocabulary import Vocabulary
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.errors import UserError
from tests.support.small_listening_model import save_small_listening_model
from tests.support.small_speech_model import noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("listening")
    vocabulary = save_small_listening_model(made / "model")
    vocabulary.save_pretrained(made / "model" / "model", chat_template=our_template(vocabulary))  # as lm.export does
    rows = []
    for number in range(40):
        write_audio(made / "set" / f"{number}.wav", noise(number, 0.5 + number / 20))
        row = {"id": str(number), "question": f"what is {number}", "answers": ["box"], "audio": f"{number}.wav"}
        rows.append(row)
    (made / "set" / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def config(folder: Path, out: Path, **options: Any) -> AnswerConfig:
    defaults: dict[str, Any] = {"benchmark": "trivia_qa", "direction": "s2t", "max_new_tokens": 6}
    defaults |= {"data": str(folder / "set"), "model": str(folder / "model")}
    return AnswerConfig(out=str(out), **(defaults | options))


def answers(out: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (out / "answers.jsonl").read_text().splitlines()]


def test_spoken_questions_are_answered_in_the_layout_of_the_training(folder: Path, tmp_path: Path) -> None:
    metrics = answer.STAGE.execute(config(folder, tmp_path / "spoken"))
    assert metrics["items"] == 40 and metrics["failures"] == 0
    given = answers(tmp_path / "spoken")
    model = ListeningModel.from_pretrained(folder / "model")
    vocabulary = model.vocabulary
    for number in (0, 7, 39):
        heard = model.hear([read_audio(folder / "set" / f"{number}.wav")])
        prompt = HeardPrompt(chat_prompt(model.placeholders(heard[0]), vocabulary), heard)
        row = model.generate([prompt], max_new_tokens=6, stop=vocabulary.end_ids)[0]
        assert vocabulary.decode_text(row) == given[number]
    assert len(set(given)) > 10
    answer.STAGE.execute(config(folder, tmp_path / "few", limit=3))
    assert set(answers(tmp_path / "few")) <= set(given)


def test_typed_questions_and_system(folder: Path, tmp_path: Path) -> None:
    answer.STAGE.execute(config(folder, tmp_path / "typed", direction="t2t", limit=4))
    answer.STAGE.execute(config(folder, tmp_path / "system", direction="t2t", limit=4, system="be short"))
    assert answers(tmp_path / "typed") != answers(tmp_path / "system")


def test_a_base_model_s_template_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "model", tmp_path / "other")
    vocabulary = Vocabulary.from_pretrained(tmp_path / "other" / "model")
    vocabulary.save_pretrained(tmp_path / "other" / "model", chat_template="{{ messages }}")
    with pytest.raises(UserError, match="a chat template of its own"):
        answer.STAGE.execute(config(folder, tmp_path / "out", model=str(tmp_path / "other")))


def test_speech_is_refused_where_it_is_not_made(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a spoken reply: the model writes"):
        answer.STAGE.execute(config(folder, tmp_path / "s2s", direction="s2s", recogniser=str(folder / "model")))
