"""A language model that hears, asked a benchmark's questions in speech and in text."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import read_audio, write_audio
from evaluation import answer
from evaluation.answers.config import AnswerConfig
from lm.data.chat_template import our_template
from lm.data.formats import chat_prompt
from lm.data.vocabulary import Vocabulary
from lm.data.vocabulary_config import VocabularyConfig
from lm.inference.listening_model import HeardPrompt, ListeningModel
from lm.vocabulary import STAGE as VOCABULARY
from runtime.errors import UserError
from tests.support.instruct_model import CHATML, save_instruct_model
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


@pytest.fixture(scope="module")
def templated(folder: Path) -> Path:
    """The same questions, and a model that was grown from an instruction model with a chat template of its own."""
    save_instruct_model(folder / "base", ["what is the box", "be short"], template=CHATML)
    VOCABULARY.execute(VocabularyConfig(out=str(folder / "grown"), base=str(folder / "base"), num_speech_tokens=1))
    grown = Vocabulary.from_pretrained(folder / "grown" / "vocabulary")
    save_small_listening_model(folder / "templated", vocabulary=grown)
    return folder


@pytest.mark.parametrize("direction", ["s2t", "t2t"])
def test_a_base_model_s_template_is_kept_to(direction: str, templated: Path, tmp_path: Path) -> None:
    """The ids of transformers' template, with the clip's vectors where the question's text would stand."""
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"model": str(templated / "templated"), "direction": direction, "system": "be short"}
    options |= {"shots": 2, "shots_data": str(templated / "shots"), "limit": 12}
    (templated / "shots").mkdir(exist_ok=True)
    rows = [{"id": f"s{number}", "question": f"say {number}", "answers": [f"box {number}"]} for number in range(2)]
    (templated / "shots" / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer.STAGE.execute(config(templated, tmp_path / "out", **options))
    written = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    model, tokenizer = (
        ListeningModel.from_pretrained(templated / "templated"),
        AutoTokenizer.from_pretrained(templated / "base"),
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    shots = [row for row in rows if row["id"] == "s0"], [row for row in rows if row["id"] == "s1"]
    matching = 0
    for order in (shots, shots[::-1]):  # a seeded choice has an order of its own
        messages = [{"role": "system", "content": "be short"}]
        for (shot,) in order:
            messages.append({"role": "user", "content": shot["question"]})
            messages.append({"role": "assistant", "content": shot["answers"][0]})
        found = []
        for one in written:
            number = int(one["id"])
            asked = [*messages, {"role": "user", "content": f"what is {number}" if direction == "t2t" else "HERE"}]
            text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
            heard = model.hear([read_audio(templated / "set" / f"{number}.wav")]) if direction == "s2t" else []
            before, _, after = text.partition("HERE")
            ids = tokenizer(before)["input_ids"]
            for clip in heard:
                ids += [model.vocabulary.speech_offset] * len(clip) + tokenizer(after)["input_ids"]
            prompt = HeardPrompt(np.array(ids), heard)
            row = model.generate([prompt], max_new_tokens=6, stop=[end, model.vocabulary.eos])[0]
            found.append(model.vocabulary.decode_text(row))
        matching += found == [one["text"] for one in written]
    assert matching == 1 and len(set(found)) > 4


def test_questions_that_a_template_cannot_hold_fail_one_by_one(templated: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    rows = [{"id": str(n), "question": f"what is {n}{'<|im_end|>' * (n == 1)}", "answers": ["box"]} for n in range(4)]
    (tmp_path / "set" / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"model": str(templated / "templated"), "direction": "t2t"}
    asked = config(templated, tmp_path / "out", **given, data=str(tmp_path / "set"))
    asked.requests.max_failed_share = 0.5
    assert answer.STAGE.execute(asked)["failures"] == 1
    alone = config(templated, tmp_path / "alone", **given, data=str(tmp_path / "set"), batch_size=1)
    alone.requests.max_failed_share = 0.5
    answer.STAGE.execute(alone)
    assert answers(tmp_path / "out") == answers(tmp_path / "alone") and answers(tmp_path / "out")[1] is None


@pytest.mark.parametrize(
    ("template", "options", "found"),
    [
        ("{{ messages[0]['content'][:1] }}", {}, "a template that writes 0 pieces of speech where a request has 1"),
        (
            "{{ raise_exception('no system') if messages[0]['role'] == 'system' }}{{ messages[0]['content'] }}",
            {"system": "be short"},
            "it refuses messages of system, user .no system",
        ),
    ],
    ids=["speech", "system"],
)
def test_templates_without_a_place_for_what_is_asked_are_refused(
    template: str, options: dict[str, Any], found: str, templated: Path, tmp_path: Path
) -> None:
    shutil.copytree(templated / "templated", tmp_path / "other")
    vocabulary = Vocabulary.from_pretrained(tmp_path / "other" / "model")
    vocabulary.save_pretrained(tmp_path / "other" / "model", chat_template=template)
    with pytest.raises(UserError, match=f"other, the chat template: {found}"):
        answer.STAGE.execute(config(templated, tmp_path / "out", model=str(tmp_path / "other"), **options))


@pytest.mark.parametrize("option", [{"dtype": "bfloat16"}, {"device": "nowhere"}])
def test_type_and_device_reach_the_model(option: dict[str, str], folder: Path, tmp_path: Path) -> None:
    asked = config(folder, tmp_path / "out", limit=2, **option)
    if "device" in option:
        with pytest.raises(RuntimeError, match="nowhere"):  # torch's own word
            answer.STAGE.execute(asked)
        return
    answer.STAGE.execute(asked)
    assert json.loads((tmp_path / "out" / "answers.json").read_text())["settings"]["dtype"] == "bfloat16"


def test_speech_is_refused_where_it_is_not_made(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a spoken reply: the model writes"):
        answer.STAGE.execute(config(folder, tmp_path / "s2s", direction="s2s", recogniser=str(folder / "model")))
