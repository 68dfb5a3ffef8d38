"""The stages: likelihoods kept raw and resumed with the same bytes, alike under every backend; scores with stamps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import read_audio, write_audio
from corpus.tokens import TokenisedUtterance, write_tokens
from evaluation import base, base_score
from evaluation.likelihood import base_likelihoods
from evaluation.likelihood.config import BaseConfig, BaseScoreConfig
from evaluation.likelihood.likelihood_file import HEADER, LINES, read_likelihoods
from evaluation.likelihood.likelihood_rules import CandidateLikelihood
from evaluation.likelihood.speech_codes import SpeechCodes
from lm.inference.generation import Generator
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.small_speech_model import SmallModel, noise
from tokenizer.model import SpeechTokenizer

from .conftest import write_pairs

ALL = ["t2t", "s2t", "t2s", "s2s"]


def config(small: SmallModel, data: Path, out: Path, **options: Any) -> BaseConfig:
    return BaseConfig(data=str(data), model=str(small.folder), out=str(out), **({"directions": ALL} | options))


def candidates(folder: Path) -> list[CandidateLikelihood]:
    return [each for one in read_likelihoods(folder).likelihoods for each in one.candidates]


def scored(folder: Path, **options: Any) -> dict[str, Any]:
    settings = {"out": str(folder / "scores"), "likelihoods": str(folder / "base")} | options
    return base_score.STAGE.execute(BaseScoreConfig(**settings))


def test_likelihoods_and_scores(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 9, small.vocabulary.speech_fingerprint)
    metrics = base.STAGE.execute(config(small, data, tmp_path / "base"))
    assert (metrics["items"], metrics["failures"], metrics["left_out"]) == (9, 0, 0)
    read = read_likelihoods(tmp_path / "base")
    assert [(one.id, one.direction) for one in read.likelihoods] == [(f"p{n}", way) for way in ALL for n in range(9)]
    # By hand: s2s of the first item's right ending
    row = json.loads((data / "pairs.jsonl").read_text().splitlines()[0])
    v = small.vocabulary
    codes = v.speech_ids(row["context"]["tokens"] + row["correct"]["tokens"])
    ids = np.array([v.special("begin_of_audio"), *codes, v.special("end_of_audio"), v.eos], np.int32)
    (log_p,) = Generator.from_pretrained(small.folder).log_probabilities([ids])
    found = next(one for one in read.likelihoods if one.direction == "s2s").candidates[0]
    size = len(row["context"]["tokens"])
    assert found.context.sum == pytest.approx(log_p[:size].sum(), abs=1e-5) and found.context.tokens == size
    assert found.continuation.sum == pytest.approx(log_p[size:-2].sum(), abs=1e-5)
    assert found.continuation.mark_sum == pytest.approx(log_p[-2:].sum(), abs=1e-5) and found.continuation.marks == 2
    means = scored(tmp_path)
    for way in ALL:
        margins = []
        for one in (one for one in read.likelihoods if one.direction == way):
            right, wrong = (each.continuation.sum / each.continuation.tokens for each in one.candidates)
            margins.append(right - wrong)
        assert means[f"{way}.continuation.accuracy"] == pytest.approx(np.mean(np.array(margins) > 0), abs=1e-6)
        halves = [means[f"{way}.continuation.accuracy.{subset}"] for subset in "ab"]
        assert means[f"{way}.continuation.accuracy"] == pytest.approx((5 * halves[0] + 4 * halves[1]) / 9, abs=1e-5)
    stamps = [one["stamp"] for one in read_json(tmp_path / "scores" / "scores.json")["scores"]]
    assert {(one["direction"], one["rule"]) for one in stamps} == {
        (way, rule) for way in ALL for rule in ("sequence", "continuation", "continuation_sum")
    }
    stamp = stamps[0]
    assert (stamp["items"], stamp["failures"], stamp["left_out"], stamp["repeated"]) == (9, 0, 0, 0)
    assert stamp["settings"]["marks"] is False and stamp["settings"]["backend"] == "built_in"
    assert stamp["settings"]["speech_tokenizer"] == small.vocabulary.speech_fingerprint
    assert "| sequence | S->S | accuracy |" in (tmp_path / "scores" / "scores.md").read_text()


def test_scores_are_the_same_bytes_again_and_need_no_model(
    small: SmallModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pairs(tmp_path / "set", 4)
    base.STAGE.execute(config(small, data, tmp_path / "base"))
    (data / "pairs.jsonl").unlink()
    for name in ("one", "two"):
        scored(tmp_path, out=str(tmp_path / name))
    for name in ("scores.json", "scores.md", "items.jsonl"):
        once, twice, at_once = ((tmp_path / each / name).read_bytes() for each in ("one", "two", "base"))
        assert once == twice == at_once
    with_marks = scored(tmp_path, out=str(tmp_path / "marks"), marks=True, rules=["continuation"])
    assert [key for key in with_marks if key.endswith("accuracy")] == [f"{way}.continuation.accuracy" for way in ALL]


def test_killed_at_any_unit_it_ends_with_the_same_bytes(
    small: SmallModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pairs(tmp_path / "set", 10)
    monkeypatch.setattr(base_likelihoods, "UNIT", 3)
    base.STAGE.execute(config(small, data, tmp_path / "whole"))
    score_unit, calls, out = base_likelihoods.score_unit, list[int](), tmp_path / "killed"

    def begun(unit: Any, *rest: Any) -> Any:
        calls.append(unit.number)
        return score_unit(unit, *rest)

    def killed(unit: Any, *rest: Any) -> Any:
        if unit.number in (0, 2, 8):
            begun(unit, *rest)
            if len(calls) % 2:  # each of these at its first call
                raise KeyboardInterrupt
        return score_unit(unit, *rest)

    monkeypatch.setattr(base_likelihoods, "score_unit", killed)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            base.STAGE.execute(config(small, data, out))
    calls.clear()
    monkeypatch.setattr(base_likelihoods, "score_unit", begun)
    with (out / base_likelihoods.JOURNAL).open("ab") as journal:
        journal.write(b'{"unit": 8, "items": [{"id"')  # torn by the kill
    base.STAGE.execute(config(small, data, out))
    assert calls == list(range(8, 16)), "16 units of 4 directions; 8 were kept"
    for name in (LINES, HEADER):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_backends_agree(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 7)
    for backend in ("built_in", "transformers"):
        base.STAGE.execute(config(small, data, tmp_path / backend, backend=backend, used_modality="own"))
    for one, other in zip(candidates(tmp_path / "built_in"), candidates(tmp_path / "transformers"), strict=True):
        assert np.ravel(one) == pytest.approx(np.ravel(other), abs=1e-4)


def test_sounds_are_joined_before_they_are_encoded(small: SmallModel, tmp_path: Path) -> None:
    for number, (name, seconds) in enumerate({"mutual": 2.0, "correct": 1.05, "incorrect": 1.3}.items()):
        write_audio(tmp_path / "set" / f"s_{name}.wav", noise(number, seconds))
    options = {"benchmark": "topic_story_cloze", "directions": ["s2s"]}
    with pytest.raises(UserError, match="as sound, and no tokenizer"):
        base.STAGE.execute(config(small, tmp_path / "set", tmp_path / "none", **options))
    base.STAGE.execute(config(small, tmp_path / "set", tmp_path / "base", tokenizer=str(small.tokenizer), **options))
    right, wrong = candidates(tmp_path / "base")
    speech = SpeechTokenizer.from_pretrained(small.tokenizer)
    assert right.context.tokens == wrong.context.tokens == 25
    assert (right.continuation.tokens, wrong.continuation.tokens) == (14, 17)  # ceil(38.125) - 25, ceil(41.25) - 25
    read = [read_audio(tmp_path / "set" / f"s_{name}.wav") for name in ("mutual", "correct")]
    (codes,) = speech.encode([np.concatenate(read)])
    v = small.vocabulary
    ids = np.array([v.special("begin_of_audio"), *v.speech_ids(codes), v.special("end_of_audio"), v.eos], np.int32)
    (log_p,) = Generator.from_pretrained(small.folder).log_probabilities([ids])
    assert right.continuation.sum == pytest.approx(log_p[25:-2].sum(), abs=1e-5)


def test_speech_is_looked_up_by_its_id(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 3)
    rows = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]
    base.STAGE.execute(config(small, data, tmp_path / "given", directions=["s2s", "t2s"]))
    items = []
    for row in rows:
        for name in ("context", "correct", "incorrect"):
            codes = np.array(row[name].pop("tokens"), np.uint16)
            row[name]["id"] = f"{row['id']} {name}"
            items.append(TokenisedUtterance(row[name]["id"], codes, "", 1.0, "ann"))
    (data / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"codebook_size": 32, "frame_rate": 12.5}
    write_tokens(tmp_path / "t.parquet", items, tokenizer=small.vocabulary.speech_fingerprint, **options)
    write_tokens(tmp_path / "other.parquet", items, tokenizer="another", **options)
    with pytest.raises(UserError, match="tokens of speech tokenizer another"):
        base.STAGE.execute(
            config(small, data, tmp_path / "o", directions=["s2s"], tokens=str(tmp_path / "other.parquet"))
        )
    found = config(small, data, tmp_path / "found", directions=["s2s", "t2s"], tokens=str(tmp_path / "t.parquet"))
    base.STAGE.execute(found)
    assert candidates(tmp_path / "found") == candidates(tmp_path / "given")


def test_codes_of_another_tokenizer_are_refused(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 2, "another")
    with pytest.raises(UserError, match="tokens of speech tokenizer another"):
        base.STAGE.execute(config(small, data, tmp_path / "base"))
    base.STAGE.execute(config(small, data, tmp_path / "text", directions=["t2t"]))


def test_items_that_fail_are_counted_and_wrong(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 3)
    long = {"id": "long", "context": {"tokens": [1] * 300}, "correct": {"tokens": [1]}, "incorrect": {"tokens": [2]}}
    strange = {"id": "strange", "correct": {"tokens": [99]}, "incorrect": {"tokens": [2]}}
    with (data / "pairs.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in (long, strange))
    with pytest.raises(UserError, match=r"2 of 5 items failed \(1 times, first long: 304 tokens for 256 positions"):
        base.STAGE.execute(config(small, data, tmp_path / "none", directions=["s2s"]))
    options = {"directions": ["s2s"], "max_failed_share": 0.4}
    assert base.STAGE.execute(config(small, data, tmp_path / "base", **options))["failures"] == 2
    means = scored(tmp_path)
    assert means["failures"] == 2 and means["s2s.sequence.accuracy"] <= 3 / 5
    (first, *_) = read_json(tmp_path / "scores" / "scores.json")["scores"]
    assert first["score"]["notes"]["no answer"] == 2 and first["stamp"]["failures"] == 2
    reason = read_likelihoods(tmp_path / "base").likelihoods[4].failure
    assert "code 99 is not of a codebook of 32" in reason


def test_a_limit_is_a_seeded_choice(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 20)
    chosen = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        base.STAGE.execute(config(small, data, tmp_path / name, directions=["t2t"], limit=5, seed=seed))
        chosen.append([one.id for one in read_likelihoods(tmp_path / name).likelihoods])
    assert chosen[0] == chosen[1] != chosen[2] and len(chosen[0]) == 5
    assert chosen[0] == sorted(chosen[0], key=lambda id: int(id[1:]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"directions": []}, "name at least one"),
        ({"directions": ["s2s", "s2s"]}, "name each once"),
        ({"directions": ["s2t"], "used_modality": "text"}, r"directions=\[t2t\], or used_modality=own"),
        ({"directions": ["a2b"]}, "directions"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], words: str, small: SmallModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        config(small, tmp_path, tmp_path, **options)


def test_no_model_there(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 2)
    for options, words in (
        ({"model": str(tmp_path / "set")}, "vocabulary: not set, and the model is a checkpoint"),
        ({"model": str(tmp_path / "set"), "vocabulary": str(small.folder)}, "no language model checkpoint"),
        ({"model": str(tmp_path / "set"), "backend": "built_in"}, "no config.json of a model"),
    ):
        settings = {"data": str(data), "directions": ["t2t"], "out": str(tmp_path / "base")} | options
        with pytest.raises(UserError, match=words):
            base.STAGE.execute(BaseConfig(**settings))


def test_a_broken_file_of_likelihoods(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 2)
    base.STAGE.execute(config(small, data, tmp_path / "base"))
    lines = (tmp_path / "base" / LINES).read_text().splitlines(keepends=True)
    for content, words in (
        ("".join(lines[1:]), "7 lines, not one for each of 2 items in 4 directions"),
        ("".join([lines[1], *lines[1:]]), "8 lines, not one"),
        ("{}\n" + "".join(lines[1:]), "line 1: no likelihoods"),
        (lines[0].replace('"correct": 0', '"correct": 2') + "".join(lines[1:]), "candidate 2 of 2"),
    ):
        (tmp_path / "base" / LINES).write_text(content)
        with pytest.raises(UserError, match=words):
            read_likelihoods(tmp_path / "base")


def test_a_plain_text_model_reads_text_only(small: SmallModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path / "plain"
    AutoModelForCausalLM.from_pretrained(small.folder).save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(small.folder).save_pretrained(folder)
    data = write_pairs(tmp_path / "set", 5)
    base.STAGE.execute(config(small, data, tmp_path / "ours", directions=["t2t"]))
    settings = {"data": str(data), "model": str(folder)}
    base.STAGE.execute(BaseConfig(**settings, directions=["t2t"], out=str(tmp_path / "theirs")))
    assert read_likelihoods(tmp_path / "theirs").header.settings["backend"] == "transformers"
    for one, other in zip(candidates(tmp_path / "ours"), candidates(tmp_path / "theirs"), strict=True):
        assert np.ravel(one) == pytest.approx(np.ravel(other), abs=1e-4)
    with pytest.raises(UserError, match=r"a text model without speech tokens.*t2t"):
        base.STAGE.execute(BaseConfig(**settings, directions=["s2t"], out=str(tmp_path / "no")))
    with pytest.raises(UserError, match="text model"):
        SpeechCodes(None, str(small.tokenizer), None)


def test_exchanged_answers_give_the_complement(small: SmallModel, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "set", 8)
    base.STAGE.execute(config(small, data, tmp_path / "base"))
    rows = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]
    turned = [row | {"correct": row["incorrect"], "incorrect": row["correct"]} for row in reversed(rows)]
    (tmp_path / "turned" / "set").mkdir(parents=True)
    (tmp_path / "turned" / "set" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in turned))
    base.STAGE.execute(config(small, tmp_path / "turned" / "set", tmp_path / "turned" / "base"))
    plain, other = scored(tmp_path), scored(tmp_path / "turned")
    names = [name for name in plain if "accuracy" in name]
    assert len(names) == 36
    for name in names:
        assert plain[name] == pytest.approx(1 - other[name], abs=1e-6)
