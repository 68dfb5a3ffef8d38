"""Base speech language models asked by worked examples: prompts by hand, batches, kills, ends, and what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import audio_info, read_audio, write_audio
from evaluation import answer, score
from evaluation.answers import base_speech_model
from evaluation.answers.base_prompt import FORMATS, AnswerEnd, AnswerStops, prompt_ids
from evaluation.answers.base_speech_model import BaseSpeechModel
from evaluation.answers.config import AnswerConfig, ScoreConfig
from lm.data.vocabulary import Ids
from lm.inference.generation import Generator
from runtime.artefact import read_json
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run
from tests.support.commands import Commands
from tests.support.small_speech_model import SmallModel, noise
from tokenizer.model import SpeechTokenizer

WORDS = ("ball", "box", "france", "paris", "capital", "now", "the", "is")


def write_questions(folder: Path, count: int, first: int = 0, **changes: Any) -> Path:
    """Questions with their answers, both in text and in speech."""
    rows = []
    for number in range(first, first + count):
        write_audio(folder / f"q{number}.wav", noise(number, 0.5 + 0.2 * (number % 4)))
        write_audio(folder / f"a{number}.wav", noise(1000 + number, 0.6))
        row = {"id": f"q{number}", "question": f"what is {WORDS[number % 8]} {number}", "answers": [WORDS[number % 5]]}
        row |= {
            "audio": f"q{number}.wav",
            "answer_audio": f"a{number}.wav",
            "answer_text": f"it is {WORDS[number % 5]}",
        }
        rows.append({name: value for name, value in (row | changes).items() if value is not None})
    (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "set.jsonl"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("questions"), 7)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_questions(tmp_path_factory.mktemp("examples"), 6, first=100)


def config(small: SmallModel, data: Path, out: Path, direction: str = "t2t", **options: Any) -> AnswerConfig:
    defaults: dict[str, Any] = {"benchmark": "trivia_qa", "prompt": "qa", "max_new_tokens": 12}
    if direction.startswith("s") or (direction.endswith("s") and options.get("shots")):
        defaults["tokenizer"] = str(small.tokenizer)
    if direction.endswith("s"):
        defaults["recogniser"] = "lm"
    options = {"model": str(small.folder)} | defaults | options
    return AnswerConfig(out=str(out), data=str(data), direction=direction, **options)


def answers(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def codes_of(small: SmallModel, file: Path) -> Ids:
    speech = SpeechTokenizer.from_pretrained(small.tokenizer)
    (codes,) = speech.encode([read_audio(file)])
    v = small.vocabulary
    return np.array([v.special("begin_of_audio"), *v.speech_ids(codes), v.special("end_of_audio")], np.int32)


@pytest.mark.parametrize("prompt", ["qa", "sentences"])
@pytest.mark.parametrize("direction", ["t2t", "s2t", "t2s", "s2s"])
def test_prompts_and_answers_are_those_by_hand(
    small: SmallModel, data: Path, examples: Path, tmp_path: Path, direction: str, prompt: str
) -> None:
    options = config(small, data, tmp_path / "out", direction, prompt=prompt, shots=2, shots_data=str(examples))
    answer.STAGE.execute(options)
    v = small.vocabulary
    asked = [json.loads(line) for line in data.read_text().splitlines()]
    header = read_json(tmp_path / "out" / "answers.json")
    assert header["shots"] == 2 and header["settings"]["prompt"].startswith(f"{prompt} ")
    model = BaseSpeechModel(options, Run(tmp_path / "unused"), ())
    chosen = chosen_shots(examples, 2)

    def piece(row: dict[str, Any], folder: Path, what: str, medium: str) -> str | Ids:
        if medium == "s":
            return codes_of(small, folder / row["audio" if what == "question" else "answer_audio"])
        text = row["question"] if what == "question" else row["answer_text"]
        return text if prompt == "qa" else f"{text}."

    ids: list[int] = []
    text = ""

    def add(part: str | Ids) -> None:
        nonlocal text
        if isinstance(part, str):
            text += part
            return
        flush()
        ids.extend(int(id) for id in part)

    def flush() -> None:
        nonlocal text
        # The one space that parts a text from a speech block takes no token.
        stripped = text.removeprefix(" ") if ids else text
        stripped = stripped.removesuffix(" ")
        ids.extend(v.encode_text(stripped) if stripped else [])
        text = ""

    before, between, after = ("Question: ", "\nAnswer: ", "\n\n") if prompt == "qa" else ("", " ", " ")
    for row in chosen:
        for part in (before, piece(row, examples.parent, "question", direction[0]), between):
            add(part)
        for part in (piece(row, examples.parent, "answer", direction[2]), after):
            add(part)
    for part in (before, piece(asked[0], data.parent, "question", direction[0]), between):
        add(part)
    flush()
    if direction.endswith("s"):
        ids.append(v.special("begin_of_audio"))
    stop = model.stops.spoken if direction.endswith("s") else model.stops.written
    (made,) = Generator.from_pretrained(small.folder).generate(
        [np.array(ids, np.int32)],
        max_new_tokens=12,
        stop=stop,
        allowed="speech" if direction.endswith("s") else "text",
        seeds=[seed_of(1, "q0")],
    )
    first = answers(tmp_path / "out")[0]
    if direction.endswith("t"):
        assert (first["text"], first["end"]) == tuple(model.stops.read_written(made))
        assert first["transcript"] is None
    else:
        (transcript,) = model._transcripts([v.codes(made)])
        assert first["text"] is None and first["transcript"] == transcript
        assert first["end"] == model.stops.spoken_end(made)


def chosen_shots(examples: Path, count: int) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in examples.read_text().splitlines()]
    return random.Random("worked examples 1").sample(rows, count)


def test_batches_order_and_kills_change_nothing(
    small: SmallModel, data: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"shots": 1, "shots_data": str(examples), "temperature": 0.8}
    answer.STAGE.execute(config(small, data, tmp_path / "whole", "s2t", **options))
    answer.STAGE.execute(config(small, data, tmp_path / "one", "s2t", batch_size=1, **options))
    wanted = answers(tmp_path / "whole")
    assert answers(tmp_path / "one") == wanted
    turned = write_questions(tmp_path / "turned", 7)
    turned.write_text("".join(reversed(turned.read_text().splitlines(keepends=True))))
    answer.STAGE.execute(config(small, turned, tmp_path / "backwards", "s2t", **options))
    assert answers(tmp_path / "backwards") == wanted[::-1]
    monkeypatch.setattr(base_speech_model, "UNIT", 3)
    unit, calls = BaseSpeechModel._unit, list[list[str]]()

    def killed(self: BaseSpeechModel, prompts: Any, settings: Any) -> Any:
        if len(calls) == 1:
            calls.append([])
            raise KeyboardInterrupt
        calls.append([prompt.id for prompt in prompts])
        return unit(self, prompts, settings)

    monkeypatch.setattr(BaseSpeechModel, "_unit", killed)
    with pytest.raises(KeyboardInterrupt):
        answer.STAGE.execute(config(small, data, tmp_path / "killed", "s2t", **options))
    answer.STAGE.execute(config(small, data, tmp_path / "killed", "s2t", **options))
    assert calls == [["q0", "q1", "q2"], [], ["q3", "q4", "q5"], ["q6"]]
    for name in ("answers.jsonl", "answers.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_end_of_an_answer_is_stated(small: SmallModel) -> None:
    v = small.vocabulary
    boa, eoa, speech = v.special("begin_of_audio"), v.special("end_of_audio"), v.speech_offset
    qa, spoken = (AnswerStops(FORMATS["qa"], v, hears=hears) for hears in (False, True))
    sentences = AnswerStops(FORMATS["sentences"], v, hears=True)

    def written(stops: AnswerStops, text: str, *more: int) -> tuple[str, str]:
        text, end = stops.read_written(np.array([*v.encode_text(text), *more], np.int32))
        return text, str(end)

    assert written(qa, " paris", v.eos) == ("paris", "end of text")
    assert written(qa, " paris", v.special("user")) == ("paris", "end of text")
    assert written(qa, " paris\n") == ("paris", "end of answer")
    assert written(qa, "\n") == ("", "end of answer")
    assert written(qa, " paris Question: what") == ("paris", "next question")
    assert written(qa, " paris. it is") == ("paris. it is", "max_new_tokens")
    assert written(spoken, " paris", boa) == ("paris", "next question")
    assert written(sentences, "it is paris. what") == ("it is paris", "end of answer")
    assert written(sentences, "it is", boa) == ("it is", "next question")
    assert written(qa, "") == ("", "max_new_tokens")
    assert boa not in qa.written and boa in spoken.written and v.eos in qa.written
    newline = [id for id in range(v.size) if v.is_text([id])[0] and "\n" in v.decode_text([id])]
    assert newline and set(newline) <= set(qa.written)
    for ids, end in (([speech, eoa], "end of audio"), ([speech, v.eos], "end of text"), ([speech], "max_new_tokens")):
        assert qa.spoken_end(np.array(ids, np.int32)) == end
    assert {end.value for end in AnswerEnd} >= {"end of text", "end of answer", "next question", "end of audio"}


def test_ends_are_counted(small: SmallModel, data: Path, tmp_path: Path) -> None:
    metrics = answer.STAGE.execute(config(small, data, tmp_path / "out", "s2t", max_new_tokens=1))
    ends = {name: count for name, count in metrics.items() if name.startswith("ended.")}
    assert sum(ends.values()) == 7 and ends == {
        f"ended.{end.replace(' ', '_')}": sum(one["end"] == end for one in answers(tmp_path / "out"))
        for end in {one["end"] for one in answers(tmp_path / "out")}
    }


def test_spoken_answers_become_sound_for_a_recogniser(
    small: SmallModel, data: Path, tmp_path: Path, spoken: dict[str, Path]
) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "sentences.txt").write_text("\n".join(spoken))
    options = {"decoder": str(small.decoder), "voice": "bert", "recogniser": str(tmp_path / "world")}
    answer.STAGE.execute(config(small, data, tmp_path / "heard", "s2s", **options))
    answer.STAGE.execute(config(small, data, tmp_path / "read", "s2s", recogniser="tokenizer"))
    speech = SpeechTokenizer.from_pretrained(small.tokenizer)
    some = 0
    for heard, read in zip(answers(tmp_path / "heard"), answers(tmp_path / "read"), strict=True):
        assert heard["end"] == read["end"] and read["audio"] is None and isinstance(heard["transcript"], str)
        if heard["audio"] is None:
            assert heard["transcript"] == read["transcript"] == "", "no speech is an empty answer"
        else:
            some += 1
            seconds = audio_info(tmp_path / "heard" / heard["audio"]).duration
            assert seconds == pytest.approx(round(seconds * 12.5) / 12.5, abs=0.02) and seconds <= 12 / 12.5 + 0.02
    assert some
    assert speech.fingerprint == read_json(tmp_path / "read" / "answers.json")["settings"]["speech_tokenizer"]
    names = [read_json(tmp_path / name / "answers.json")["recogniser"] for name in ("heard", "read")]
    assert names[0].startswith("closed world") and names[1] == "the tokenizer's own reading of the tokens"
    found = score.STAGE.execute(
        ScoreConfig(out=str(tmp_path / "s"), benchmark="trivia_qa", data=str(data), answers=str(tmp_path / "read"))
    )
    assert "speech.contiguous.accuracy" in found and not any(name.startswith("text.") for name in found)


def test_the_likeliest_option_is_that_by_hand(small: SmallModel, tmp_path: Path) -> None:
    rows = []
    for number in range(5):
        write_audio(tmp_path / f"{number}.wav", noise(number, 0.6))
        row = {"id": number, "subject": "law", "question_text": f"question {number}", "answer": number % 4}
        rows.append(row | {"question_audio": f"{number}.wav"})
    (tmp_path / "en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    v = small.vocabulary
    generator = Generator.from_pretrained(small.folder)
    for direction in ("t2t", "s2t"):
        options = {"benchmark": "speech_mmlu", "answer_by": "likelihood"}
        out = tmp_path / direction
        metrics = answer.STAGE.execute(config(small, tmp_path / "en.jsonl", out, direction, **options))
        assert metrics["ended.likeliest_option"] == 5
        for number, one in enumerate(answers(out)):
            sums = []
            for letter in "ABCD":
                if direction == "t2t":
                    shared = len(v.encode_text(f"Question: question {number}\nAnswer:"))
                    ids = v.encode_text(f"Question: question {number}\nAnswer: Option {letter}")
                else:
                    head = [*v.encode_text("Question:"), *codes_of(small, tmp_path / f"{number}.wav")]
                    shared = len(head) + len(v.encode_text("\nAnswer:"))
                    ids = [*head, *v.encode_text(f"\nAnswer: Option {letter}")]
                (values,) = generator.log_probabilities([np.array(ids, np.int32)])
                sums.append(values[shared - 1 :].sum())
            assert one["text"] == f"Option {'ABCD'[int(np.argmax(sums))]}"
        assert read_json(out / "answers.json")["settings"]["answer_by"] == "likelihood"


def test_a_checkpoint_answers_as_its_export(small: SmallModel, data: Path, tmp_path: Path, commands: Commands) -> None:
    def run_stage(module: str, *words: str) -> None:
        """As a command: a group of processes that Megatron opens here would hang the forks of other tests."""
        done = commands.run(module, *words)
        assert done.returncode == 0, done.stderr

    vocabulary = f"vocabulary={small.folder}"
    run_stage("lm.import_hf", f"model={small.folder}", vocabulary, f"out={tmp_path / 'lm'}")
    run_stage("lm.export", f"checkpoint={tmp_path / 'lm'}", vocabulary, f"out={tmp_path / 'export'}")
    model = {"model": str(tmp_path / "lm")}
    with pytest.raises(UserError, match="option vocabulary: not set, and the model is a checkpoint"):
        answer.STAGE.execute(config(small, data, tmp_path / "none", **model))
    asked = ["benchmark=trivia_qa", "prompt=qa", "max_new_tokens=12", f"data={data}", "direction=t2t", vocabulary]
    run_stage("evaluation.answer", *asked, f"model={tmp_path / 'lm'}", f"out={tmp_path / 'checkpoint'}")
    answer.STAGE.execute(config(small, data, tmp_path / "exported", model=str(tmp_path / "export")))
    assert answers(tmp_path / "checkpoint") == answers(tmp_path / "exported")
    assert read_json(tmp_path / "checkpoint" / "answers.json")["model"].startswith("lm, step")


def test_a_question_that_is_asked_is_no_worked_example(small: SmallModel, data: Path, tmp_path: Path) -> None:
    other = write_questions(tmp_path / "split", 1, first=50, question="What is  BALL 0?")
    with pytest.raises(UserError, match=r"worked example 'q50' is the question 'q0' of the set"):
        answer.STAGE.execute(config(small, data, tmp_path / "out", shots=1, shots_data=str(other)))


@pytest.mark.parametrize(
    ("direction", "changes", "words"),
    [
        ("s2t", {"audio": None}, r"set\.jsonl, line 1: no audio"),
        ("s2s", {"answer_audio": None}, r"set\.jsonl, line 1: no answer_audio"),
        ("t2s", {"answer_audio": "none.wav"}, "no audio file"),
    ],
)
def test_worked_examples_without_speech_are_named(
    small: SmallModel, data: Path, tmp_path: Path, direction: str, changes: dict[str, Any], words: str
) -> None:
    split = write_questions(tmp_path / "split", 2, first=50, **changes)
    with pytest.raises(UserError, match=words):
        answer.STAGE.execute(config(small, data, tmp_path / "out", direction, shots=1, shots_data=str(split)))


def test_too_few_worked_examples_are_refused(small: SmallModel, data: Path, examples: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 worked examples, fewer than shots=7"):
        answer.STAGE.execute(config(small, data, tmp_path / "out", shots=7, shots_data=str(examples)))
    with pytest.raises(UserError, match=r"fewer than shots=1.*or shots_of=set"):
        options = {"shots": 1, "shots_data": str(write_mmlu(tmp_path / "shots", "math")), "shots_of": "subset"}
        asked = write_mmlu(tmp_path / "asked", "law", text="another")
        answer.STAGE.execute(config(small, asked, tmp_path / "o", benchmark="speech_mmlu", **options))


def write_mmlu(folder: Path, subject: str, text: str = "text") -> Path:
    folder.mkdir()
    (folder / "en.jsonl").write_text(json.dumps({"subject": subject, "question_text": text, "answer": 1}))
    return folder


def test_prompts_that_are_too_long_fail_and_are_counted(small: SmallModel, data: Path, tmp_path: Path) -> None:
    long = write_questions(tmp_path / "set", 4)
    rows = [json.loads(line) for line in long.read_text().splitlines()]
    rows[1]["question"] = "ball " * 400
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        UserError, match=r"1 of 4 items were not answered.*too long for the model \(0 worked examples, 12"
    ):
        answer.STAGE.execute(config(small, long, tmp_path / "out"))
    options = config(small, long, tmp_path / "out")
    options.requests.max_failed_share = 0.5
    assert answer.STAGE.execute(options)["failures"] == 1
    assert [bool(one["failure"]) for one in answers(tmp_path / "out")] == [False, True, False, False]


@pytest.mark.parametrize(
    ("direction", "options", "words"),
    [
        ("s2t", {"tokenizer": ""}, "option tokenizer: not set"),
        ("s2s", {"recogniser": "tokenizer", "tokenizer": ""}, "option tokenizer: not set"),
        ("s2s", {"recogniser": "SMALL"}, "option decoder: not set"),
        ("t2t", {"tokenizer": "SMALL"}, "option tokenizer: .*no effect"),
        ("s2t", {"decoder": "SMALL"}, "option decoder: .*no effect"),
        ("t2t", {"vocabulary": "SMALL"}, "option vocabulary: .*no effect"),
        ("s2s", {"decoder": "DECODER", "voice": "carla"}, "'carla' is no voice"),
        ("t2t", {"answer_by": "likelihood"}, "trivia_qa has no written options"),
    ],
)
def test_parts_that_are_missing_or_idle_are_named(
    small: SmallModel, data: Path, tmp_path: Path, direction: str, options: dict[str, Any], words: str
) -> None:
    (tmp_path / "sentences.txt").write_text("the ball is in the box")
    places = {"SMALL": str(tmp_path), "DECODER": str(small.decoder)}
    options = {name: places.get(value, value) for name, value in options.items()}
    with pytest.raises(UserError, match=words):
        answer.STAGE.execute(config(small, data, tmp_path / "out", direction, **options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokenizer": "t"}, r"option tokenizer: 't' and no prompt="),
        ({"direction": "s2s", "recogniser": "lm"}, "only a base model"),
        ({"prompt": "qa", "voice": "anna"}, "option voice"),
        ({"prompt": "chat"}, "option prompt"),
        ({"recogniser": "somewhere"}, "option recogniser.*leave it out"),
        ({"shots_data": "somewhere"}, "option shots_data"),
        ({"shots_of": "subset"}, "option shots_of"),
        ({"served_model": "m"}, "option served_model"),
        ({"prompt": "qa", "direction": "s2s", "recogniser": "lm", "answer_by": "likelihood"}, "option answer_by"),
    ],
)
def test_options_without_an_effect_are_refused(options: dict[str, Any], words: str) -> None:
    defaults = {"out": "o", "benchmark": "trivia_qa", "data": "d", "model": "m", "direction": "t2t"}
    with pytest.raises(UserError, match=words):
        AnswerConfig(**(defaults | options))


@pytest.mark.parametrize("option", [{"batch_size": 2}, {"device": "cuda"}, {"dtype": "bfloat16"}])
def test_options_of_a_model_that_runs_here_are_refused_of_others(
    small: SmallModel, data: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=f"option {next(iter(option))}: .*no prompt="):
        answer.STAGE.execute(config(small, data, tmp_path / "out", prompt="", **option))


def test_a_text_model_has_no_prompt_of_this_kind(small: SmallModel, data: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "config.json").write_text((small.folder / "config.json").read_text())
    with pytest.raises(UserError, match="a text model without speech tokens"):
        answer.STAGE.execute(config(small, data, tmp_path / "out", model=str(tmp_path / "plain")))


def test_a_prompt_of_speech_alone_is_speech_blocks_alone(small: SmallModel) -> None:
    v = small.vocabulary
    codes = np.array([1, 2], np.uint16)
    boa, eoa, at = v.special("begin_of_audio"), v.special("end_of_audio"), v.speech_offset
    ids = prompt_ids(FORMATS["sentences"].parts([(codes, codes)], codes), v, is_spoken=True)
    assert ids.tolist() == [*[boa, at + 1, at + 2, eoa] * 3, boa]
    written = prompt_ids(FORMATS["sentences"].parts([], "who is it?", "a system"), v, is_spoken=False)
    assert v.decode_text(written) == "a system\n\nwho is it?"
