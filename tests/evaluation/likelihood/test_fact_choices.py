"""Choices about made-up facts: right forms, one sound for one text, subsets by group, clusters by entity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.world.made_up_facts import ENTITIES, made_up_facts, write_facts
from corpus.world.voices import espeak_voice
from evaluation import fact_set
from evaluation.likelihood.choice_sets import BENCHMARKS, read_choice_set
from evaluation.likelihood.fact_choices import SETS
from evaluation.likelihood.fact_config import FactSetConfig
from runtime.artefact import file_digest, write_json, write_text
from runtime.errors import UserError
from tests.support.small_speech_model import SmallModel


@pytest.mark.parametrize("name", SETS)
def test_each_fact_is_chosen_against_two_false_answers(name: str) -> None:
    facts = made_up_facts(2)
    choices = list(SETS[name](facts))
    assert len({one.id for one in choices}) == len(choices) == 2 * len(facts)
    trained = {question for fact in facts for question in fact.questions}
    for one in choices:
        true, false = one.correct.removesuffix("."), one.incorrect.removesuffix(".")
        assert true.split()[-1] == one.fact.answer and false.split()[-1] in one.fact.wrong
        assert true.split()[:-1] == false.split()[:-1], "they differ in the last word"
        asked = one.context.removesuffix(".")
        assert {
            "questions": asked in one.fact.questions,
            "new_questions": asked in one.fact.new_questions and asked not in trained,
            "beginnings": f"{asked} {true}" == one.fact.statements[0],
            "statements": not asked and true == one.fact.statements[0],
        }[name]
    asked_in = {one.context for one in choices if one.fact.id == facts[0].id}
    assert len(asked_in) == (2 if name == "questions" else 1), "every known question is asked"


def test_the_stage(small: SmallModel, tmp_path: Path) -> None:
    facts = [fact for fact in made_up_facts(1) if fact.entity in ENTITIES[:3]]
    write_text(tmp_path / "facts" / "facts.jsonl", write_facts(facts))
    voices = {"answer": "espeak-f2", "voices": [espeak_voice("f2", 50).describe()]}
    write_json(tmp_path / "facts" / "voices.json", voices)
    options = {"facts": str(tmp_path / "facts"), "tokenizer": str(small.tokenizer), "audio": True}
    metrics = fact_set.STAGE.execute(FactSetConfig(**options, out=str(tmp_path / "one")))
    fact_set.STAGE.execute(FactSetConfig(**options, out=str(tmp_path / "two")))
    assert file_digest(tmp_path / "one" / "sets") == file_digest(tmp_path / "two" / "sets")
    assert {name: metrics[name] for name in SETS} == dict.fromkeys(SETS, 2 * len(facts))
    found = read_choice_set(BENCHMARKS["pairs"], tmp_path / "one/sets", ("t2t", "s2t", "t2s", "s2s"))
    assert not found.left_out and len(found.items) == 4 * 2 * len(facts)
    groups = {fact.group for fact in facts}
    assert {item.subset for item in found.items} == {f"{name}.{group}" for name in SETS for group in groups}
    assert {item.cluster for item in found.items} == set(ENTITIES[:3])
    assert all(part.codes for item in found.items for part in item.parts())
    lines = (tmp_path / "one/sets/questions.jsonl").read_text().splitlines()
    replies = {part["text"]: part["tokens"] for line in lines for part in (json.loads(line)["correct"],)}
    assert all(replies[one["correct"]["text"]] == one["correct"]["tokens"] for one in map(json.loads, lines))
    with pytest.raises(UserError, match="the training voices are espeak-f2"):
        fact_set.STAGE.execute(FactSetConfig(**options | {"voice": "flite-slt"}, out=str(tmp_path / "three")))
