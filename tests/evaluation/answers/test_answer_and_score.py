"""Answer, judge, score against a real HTTP server: raw answers kept, failures counted, the same bytes again."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.audio.files import encode_wav, read_audio, write_audio
from evaluation import answer, judge, score
from evaluation.answers.config import AnswerConfig, JudgeConfig, ScoreConfig
from runtime.artefact import read_json
from runtime.chat_endpoint import RequestConfig
from runtime.errors import UserError
from tests.support.chat_server import Reply, chat_server, message

FACTS = {"france": "paris", "italy": "rome", "spain": "madrid", "norway": "oslo", "egypt": "cairo"}
QUICK = RequestConfig(wait_seconds=0.001, retries=1, max_failed_share=1.0, concurrency=2)


def write_set(folder: Path) -> Path:
    rows = [{"id": land, "question": f"capital of {land}", "answers": [city]} for land, city in FACTS.items()]
    folder.mkdir(exist_ok=True)
    (folder / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def knows(body: dict[str, Any]) -> Reply:
    """Two right, one wrong, one empty, one that fails."""
    asked = body["messages"][-1]["content"]
    land = asked.split()[-1]
    if land == "egypt":
        return 500, {"error": "broken"}
    said = {"france": "It is Paris.", "italy": "Rome it is", "spain": "I think Lisbon", "norway": ""}
    return message(said[land])


def judges(body: dict[str, Any]) -> Reply:
    """Correct for the answers with Paris, unreadable for Rome, a refusal for the others."""
    asked = body["messages"][-1]["content"]
    if "It is Paris." in asked:
        return message('{"analysis": "a", "judgment": "correct"}')
    return message("Well, hard to say." if "Rome" in asked else "I cannot help with that.")


def answered(folder: Path, url: str, **options: Any) -> AnswerConfig:
    return AnswerConfig(
        out=str(folder / "answers"),
        benchmark="trivia_qa",
        data=str(write_set(folder / "set")),
        model=url,
        direction="t2t",
        requests=QUICK,
        **options,
    )


def scored(folder: Path, **options: Any) -> ScoreConfig:
    defaults = {"out": str(folder / "scores"), "answers": str(folder / "answers"), "benchmark": "trivia_qa"}
    return ScoreConfig(data=str(folder / "set"), **(defaults | options))


def test_answers_judgements_and_scores(tmp_path: Path) -> None:
    with chat_server(knows) as served:
        metrics = answer.STAGE.execute(answered(tmp_path, served.url))
    assert metrics == {"items": 5, "failures": 1, "left_out": 0}
    assert all(body["temperature"] == 0 and body["model"] == "model-of-the-test" for body in served.asked)
    with chat_server(judges) as served:
        options = {"url": served.url, "model": "j", "media": ["text"], "requests": QUICK}
        made = judge.STAGE.execute(
            JudgeConfig(
                out=str(tmp_path / "judged"),
                answers=str(tmp_path / "answers"),
                benchmark="trivia_qa",
                data=str(tmp_path / "set"),
                **options,
            )
        )
    assert made["judgements"] == 3, "neither the empty answer nor the failed one is sent to the judge"
    found = score.STAGE.execute(scored(tmp_path, judgements=str(tmp_path / "judged")))
    assert found["text.contiguous.accuracy"] == pytest.approx(2 / 5)
    assert found["text.judge.accuracy"] == pytest.approx(1 / 3, abs=1e-6), "right, empty, failed; two are unreadable"
    by_rule = {one["stamp"]["rule"]: one for one in read_json(tmp_path / "scores" / "scores.json")["scores"]}
    assert by_rule["contiguous"]["score"]["notes"] == {"empty answer": 1, "no answer": 1}
    assert by_rule["judge"]["score"]["notes"] == {"empty answer": 1, "no answer": 1, "unreadable judgement": 2}
    stamp = by_rule["judge"]["stamp"]
    assert (stamp["judge"], stamp["items"], stamp["failures"], stamp["left_out"]) == ("j", 5, 1, 0)
    assert stamp["direction"] == "t2t" and stamp["judge_prompt"].startswith("knowledge ")
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "1 empty answer, 1 no answer" in table and "GLM-4-Voice-9B | S->T | 39.1" in table


def test_scores_are_the_same_bytes_again(tmp_path: Path) -> None:
    with chat_server(knows) as served:
        answer.STAGE.execute(answered(tmp_path, served.url))
    for name in ("scores", "again"):
        score.STAGE.execute(scored(tmp_path, out=str(tmp_path / name)))
    for file in ("scores.json", "items.jsonl", "scores.md"):
        assert (tmp_path / "scores" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_an_interrupted_run_asks_only_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    def whole(body: dict[str, Any]) -> Reply:
        return knows(body) if "egypt" not in str(body) else message("Cairo")

    with chat_server(whole) as served:
        answer.STAGE.execute(answered(tmp_path / "one", served.url))
    with chat_server(lambda body: (401, {"error": "key"}) if len(served.asked) > 2 else knows(body)) as served:
        with pytest.raises(UserError, match="401"):
            answer.STAGE.execute(answered(tmp_path / "two", served.url))
        journal = tmp_path / "two" / "answers" / "answered.jsonl"
        kept = journal.read_bytes().count(b"\n")
        journal.write_bytes(journal.read_bytes() + b'{"id": "torn')
        served.asked.clear()
        served.reply = whole
        answer.STAGE.execute(answered(tmp_path / "two", served.url))
        assert 1 <= kept <= 2 and len(served.asked) == 5 - kept
    files = [(tmp_path / name / "answers" / "answers.jsonl").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_too_many_failures_are_an_error_and_answers_are_kept(tmp_path: Path) -> None:
    config = answered(tmp_path, "http://127.0.0.1:9/v1", served_model="m")
    config.requests = RequestConfig(wait_seconds=0.001, retries=0, max_failed_share=0.1)
    with pytest.raises(UserError, match=r"5 of 5 items were not answered \(5 times: ConnectError"):
        answer.STAGE.execute(config)


def test_speech_to_speech_is_scored_in_both_media(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """A server that answers in speech; the recogniser is the closed-world judge."""
    question, reply = "what is the capital of france", "the capital of france is paris"
    folder = tmp_path / "set"
    folder.mkdir()
    row = {"id": "a", "question": question, "answers": ["paris"], "audio": str(spoken[question])}
    (folder / "set.jsonl").write_text(json.dumps(row))
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "sentences.txt").write_text("\n".join(spoken))
    sound = base64.b64encode(encode_wav(read_audio(spoken[reply]))).decode()

    def speaks(body: dict[str, Any]) -> Reply:
        (part,) = body["messages"][-1]["content"]
        assert part["type"] == "input_audio" and len(base64.b64decode(part["input_audio"]["data"])) > 10_000
        assert body["modalities"] == ["text", "audio"]
        return message(None, audio={"data": sound, "transcript": "the capital is rome", "id": "x"})

    with chat_server(speaks) as served:
        config = AnswerConfig(
            out=str(tmp_path / "answers"),
            benchmark="llama_questions",
            data=str(folder),
            model=served.url,
            direction="s2s",
            recogniser=str(tmp_path / "world"),
            requests=QUICK,
        )
        answer.STAGE.execute(config)
    found = score.STAGE.execute(scored(tmp_path, benchmark="llama_questions"))
    assert found["text.contiguous.accuracy"] == 0 and found["speech.contiguous.accuracy"] == 1
    directions = {one["stamp"]["direction"] for one in read_json(tmp_path / "scores" / "scores.json")["scores"]}
    assert directions == {"s2t", "s2s"}


def test_rows_without_readable_audio_are_left_out_of_answers_and_scores_alike(
    tmp_path: Path, spoken: dict[str, Path]
) -> None:
    data = write_set(tmp_path / "set")
    sound = next(iter(spoken.values()))
    (data / "torn.wav").write_bytes(sound.read_bytes()[:50])
    write_audio(data / "long.wav", read_audio(sound))
    audios = {"france": str(data / "long.wav"), "italy": str(sound), "spain": "torn.wav"}  # the other two have none
    rows = [json.loads(line) for line in (data / "set.jsonl").read_text().splitlines()]
    rows = [row | ({"audio": audios[row["id"]]} if row["id"] in audios else {}) for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    with chat_server(lambda body: message("Paris or Rome")) as served:
        config = answered(tmp_path, served.url, max_bad_share=0.6)
        (data / "set.jsonl").write_text(lines)  # `answered` writes the set without audio
        answer.STAGE.execute(replace(config, direction="s2t"))
        with pytest.raises(UserError, match=r"set\.jsonl, line 3: .*torn\.wav"):
            answer.STAGE.execute(replace(config, direction="s2t", max_bad_share=0.0, out=str(tmp_path / "strict")))
    assert len(served.asked) == 2
    found = score.STAGE.execute(scored(tmp_path, max_bad_share=0.6))
    assert found["items"] == 2 and found["text.contiguous.accuracy"] == 1
    assert read_json(tmp_path / "scores" / "scores.json")["scores"][0]["stamp"]["left_out"] == 3


def test_judgements_of_other_answers_are_refused(tmp_path: Path) -> None:
    with chat_server(knows) as served:
        answer.STAGE.execute(answered(tmp_path, served.url))
    places = {"answers": str(tmp_path / "answers"), "data": str(tmp_path / "set"), "benchmark": "trivia_qa"}
    with chat_server(judges) as served:
        asked: dict[str, Any] = {"url": served.url, "model": "j", "media": ["text"], "requests": QUICK}
        judge.STAGE.execute(JudgeConfig(out=str(tmp_path / "judged"), **places, **asked))
    lines = (tmp_path / "answers" / "answers.jsonl").read_text()
    (tmp_path / "answers" / "answers.jsonl").write_text(lines.replace("I think Lisbon", "Madrid"))
    with pytest.raises(UserError, match=r"judged: judgements of other answers"):
        score.STAGE.execute(scored(tmp_path, judgements=str(tmp_path / "judged")))
    said = read_json(tmp_path / "judged" / "judge.json")
    del said["answers"]  # as they were written before
    (tmp_path / "judged" / "judge.json").write_text(json.dumps(said))
    score.STAGE.execute(scored(tmp_path, judgements=str(tmp_path / "judged")))


def test_replies_that_are_cut_filtered_or_refused_are_named_and_counted(tmp_path: Path) -> None:
    def strange(body: dict[str, Any]) -> Reply:
        land = body["messages"][-1]["content"].split()[-1]
        status, reply = message("It is Paris, the capital of")
        if land == "france":
            reply["choices"][0]["finish_reason"] = "length"
        if land == "italy":
            reply["choices"][0]["finish_reason"] = "content_filter"
        if land == "spain":
            reply["choices"][0]["message"] = {"content": None, "refusal": "I cannot help with Madrid."}
        return status, reply

    with chat_server(strange) as served:
        metrics = answer.STAGE.execute(answered(tmp_path, served.url))
    assert metrics == {"items": 5, "failures": 1, "left_out": 0, "ended.max_new_tokens": 1}
    lines = {
        one["id"]: one for one in map(json.loads, (tmp_path / "answers" / "answers.jsonl").read_text().splitlines())
    }
    assert (lines["france"]["end"], lines["norway"]["end"]) == ("max_new_tokens", "")
    assert lines["italy"]["failure"] == "stopped by the endpoint's content filter" and lines["italy"]["text"] is None
    assert lines["spain"]["text"] == "I cannot help with Madrid."


def test_a_header_that_is_none_is_named(tmp_path: Path) -> None:
    with chat_server(knows) as served:
        answer.STAGE.execute(answered(tmp_path, served.url))
    (tmp_path / "answers" / "answers.json").write_text("{}")
    with pytest.raises(UserError, match=r"answers\.json: no circumstances of a run of answers"):
        score.STAGE.execute(scored(tmp_path))


def test_answers_of_another_set_are_refused(tmp_path: Path) -> None:
    with chat_server(knows) as served:
        answer.STAGE.execute(answered(tmp_path, served.url))
    (tmp_path / "set" / "set.jsonl").write_text(json.dumps({"question": "q", "answers": ["a"]}))
    with pytest.raises(UserError, match="answers to another set"):
        score.STAGE.execute(scored(tmp_path))


def test_options_that_cannot_work_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="option recogniser"):
        AnswerConfig(out="o", benchmark="trivia_qa", data="d", model="m", direction="s2s")
    with pytest.raises(UserError, match="choose one of web_questions"):
        score.STAGE.execute(scored(tmp_path, benchmark="triviaqa"))
    with pytest.raises(UserError, match=r"no rule 'exact'.*contiguous"):
        write_set(tmp_path / "set")
        with chat_server(knows) as served:
            answer.STAGE.execute(answered(tmp_path, served.url))
        score.STAGE.execute(scored(tmp_path, rules=["exact"]))


def test_a_choice_of_items_is_scored_as_it_was_asked(tmp_path: Path) -> None:
    with chat_server(lambda body: message("Paris, Rome, Madrid, Oslo or Cairo")) as served:
        answer.STAGE.execute(answered(tmp_path, served.url, limit=2))
    assert len(served.asked) == 2
    found = score.STAGE.execute(scored(tmp_path))
    assert found["items"] == 2 and found["text.contiguous.accuracy"] == 1
    assert read_json(tmp_path / "scores" / "scores.json")["scores"][0]["stamp"]["limit"] == 2


def test_worked_examples_come_first(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "set.jsonl").write_text(json.dumps({"question": "capital of peru", "answers": ["lima", "l"]}))
    with chat_server(knows) as served:
        answer.STAGE.execute(answered(tmp_path, served.url, shots=1, shots_data=str(tmp_path / "train")))
    first = served.asked[0]["messages"]
    assert [one["content"] for one in first[:2]] == ["capital of peru", "lima"] and len(first) == 3


def test_a_cascade_asks_what_the_recogniser_heard(tmp_path: Path, spoken: dict[str, Path]) -> None:
    question = "what is the capital of france"
    (tmp_path / "set").mkdir()
    row = {"id": "a", "question": "(never shown)", "answers": ["paris"], "audio": str(spoken[question])}
    (tmp_path / "set" / "set.jsonl").write_text(json.dumps(row))
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "sentences.txt").write_text("\n".join(spoken))
    with chat_server(lambda body: message(f"paris: {body['messages'][-1]['content']}")) as served:
        config = AnswerConfig(
            out=str(tmp_path / "answers"),
            benchmark="trivia_qa",
            data=str(tmp_path / "set"),
            model=served.url,
            direction="s2t",
            cascade=str(tmp_path / "world"),
            requests=QUICK,
        )
        answer.STAGE.execute(config)
    (line,) = (tmp_path / "answers" / "answers.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == f"paris: {question}" and json.loads(line)["heard"] == question


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of transformers with a byte-level tokenizer and no chat template."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from lm.data.text_tokenizers import train_bpe

    folder = tmp_path_factory.mktemp("text_model")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_bpe(["a question"], 260), eos_token="<eos>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_text_model_of_transformers_answers_in_one_line(tmp_path: Path, text_model: Path) -> None:
    answer.STAGE.execute(answered(tmp_path, str(text_model), max_new_tokens=8))
    lines = [json.loads(line) for line in (tmp_path / "answers" / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 5 and all(isinstance(line["text"], str) and "\n" not in line["text"] for line in lines)
    config = answered(tmp_path, str(text_model))
    config.direction = "s2t"
    config.out = str(tmp_path / "other")
    with pytest.raises(UserError, match="no audio, which this direction needs"):
        answer.STAGE.execute(config)
