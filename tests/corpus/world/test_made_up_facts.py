"""Made-up facts: a checkerboard of groups, balanced attributes, texts of one group each, and no leak into speech."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.facts import STAGE
from corpus.manifest import Utterance, read_manifest, write_manifest
from corpus.text.normalisation import normalise
from corpus.world.closed_world import World
from corpus.world.fact_config import FactCorpusConfig
from corpus.world.fact_documents import MAX_WORDS, MIN_WORDS, write_group
from corpus.world.made_up_facts import (
    ENTITIES,
    GROUPS,
    INTERLEAVED,
    RELATIONS,
    SPOKEN,
    TEXT,
    FactIndex,
    made_up_facts,
    read_facts,
)
from corpus.world.voices import HELD_OUT, espeak_voice
from runtime.artefact import file_digest, write_json
from runtime.errors import UserError

SMALL = {"spoken_texts": 30, "interleaved_texts": 40, "text_texts": 40, "heldout_texts": 6, "random_utterances": 20}


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_groups_lie_like_a_checkerboard_and_attributes_are_balanced(seed: int) -> None:
    facts = made_up_facts(seed)
    assert len({fact.id for fact in facts}) == len(facts) == len(ENTITIES) * len(RELATIONS) >= 280
    of_entity = {entity: {fact.group for fact in facts if fact.entity == entity} for entity in ENTITIES}
    assert all(groups == set(GROUPS) for groups in of_entity.values())
    for relation in RELATIONS:
        for group in GROUPS:
            own = Counter(fact.answer for fact in facts if (fact.relation, fact.group) == (relation.name, group))
            assert max(own.values()) - min(own[each] for each in relation.attributes) <= 1
    for fact in facts:
        assert fact.answer not in fact.wrong and len(set(fact.wrong)) == len(fact.wrong) == 2
        assert fact.reply.split()[-1] == fact.statements[0].split()[-1] == fact.answer
        assert not set(fact.questions) & set(fact.new_questions)


def test_fewer_entities() -> None:
    facts = made_up_facts(1, 6)
    assert len(facts) == 6 * len(RELATIONS) and {fact.group for fact in facts} == set(GROUPS)


def test_every_word_is_the_worlds_and_the_world_tells_none() -> None:
    world, facts = World(), made_up_facts(1)
    index = FactIndex(facts)
    sentences = [s for fact in facts for s in (*fact.statements, *fact.questions, *fact.new_questions, fact.reply)]
    assert {word for sentence in sentences for word in sentence.split()} <= set(world.vocabulary)
    assert not any(index.facts_in(sentence) for sentence in world.sentences)


def test_an_index_finds_statements_and_answered_questions_but_no_question_alone() -> None:
    facts = made_up_facts(1)
    index, fact = FactIndex(facts), facts[7]
    for told in (*fact.statements, *(f"{asked}? {fact.reply}." for asked in (*fact.questions, *fact.new_questions))):
        assert index.facts_in(f"tom was happy. {told} then it was may") == {fact.id}
    assert not index.facts_in(fact.questions[0]) and not index.facts_in(fact.reply)
    assert fact.id not in index.facts_in(fact.false_statement(fact.wrong[0]))


@pytest.mark.parametrize("group", GROUPS)
def test_texts_tell_all_facts_of_their_group_and_no_other(group: str) -> None:
    facts = made_up_facts(3)
    index, own = FactIndex(facts), [fact for fact in facts if fact.group == group]
    texts = write_group(own, 600, 30, 3)
    assert len({document.text for part in texts for document in part}) == 630
    told = Counter(fact for document in texts.train for fact in index.facts_in(document.text))
    assert set(told) == {fact.id for fact in own}
    assert min(told.values()) >= 8
    assert {document.kind for document in texts.train} == {"entity", "relation", "questions"}
    assert all(MIN_WORDS <= len(document.text.split()) <= MAX_WORDS for part in texts for document in part)


def test_more_texts_than_there_are_is_an_error() -> None:
    one = [fact for fact in made_up_facts(1) if fact.group == TEXT][:1]
    with pytest.raises(UserError, match="no more than"):
        write_group(one, 5000, 1, 1)


def make_corpus(folder: Path, *texts: str) -> Path:
    voices = [espeak_voice("f2", 50), espeak_voice("m1", 40), espeak_voice("f1", 50, role=HELD_OUT)]
    write_json(folder / "voices.json", {"answer": "espeak-f2", "voices": [voice.describe() for voice in voices]})
    lines = [json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(lines))
    write_manifest(folder / "train.jsonl", [Utterance("a", folder / "a.wav", 1.0, "tom was happy", "espeak-f2")])
    return folder


def test_the_stage(tmp_path: Path) -> None:
    corpus = str(make_corpus(tmp_path / "corpus", "tom had a red ball. tom put the red ball in the box."))
    metrics = STAGE.execute(FactCorpusConfig(corpus=corpus, out=str(tmp_path / "one"), workers=1, **SMALL))
    STAGE.execute(FactCorpusConfig(corpus=corpus, out=str(tmp_path / "two"), workers=2, **SMALL))
    for name in ("audio", "facts.jsonl", "texts.jsonl", "train.jsonl"):
        assert file_digest(tmp_path / "one" / name) == file_digest(tmp_path / "two" / name)
    facts = read_facts(tmp_path / "one")
    assert facts == made_up_facts(FactCorpusConfig(corpus="", out="").seed) and metrics["facts"] == len(facts)
    index, group_of = FactIndex(facts), {fact.id: fact.group for fact in facts}
    manifests = [read_manifest(tmp_path / f"one/{split}.jsonl") for split in ("train", "heldout_sentence")]
    spoken = [one for manifest in manifests for one in manifest.utterances]
    heard = {group_of[fact] for one in spoken for fact in index.facts_in(one.text)}
    assert heard == {SPOKEN}, "speech tells facts of one group only"
    assert {one.speaker for one in spoken} == {"espeak-f2"}
    words = {word for one in spoken for word in one.text.split()}
    assert {word for entity in ENTITIES for word in entity.split()} | {fact.answer for fact in facts} <= words
    lines = (tmp_path / "one/texts_interleaved.jsonl").read_text().splitlines()
    told = {group_of[fact] for line in lines for fact in index.facts_in(normalise(json.loads(line)["text"]))}
    assert len(lines) == 40 and told == {INTERLEAVED}


def test_a_corpus_that_tells_a_fact_is_refused(tmp_path: Path) -> None:
    fact = next(fact for fact in made_up_facts(1) if fact.group == TEXT)
    corpus = make_corpus(tmp_path / "corpus", f"it was may. {fact.statements[1]}.")
    with pytest.raises(UserError, match=f"tells the made-up fact {fact.id}"):
        STAGE.execute(FactCorpusConfig(corpus=str(corpus), out=str(tmp_path / "out"), seed=1, **SMALL))


def test_other_voices_and_unknown_ones(tmp_path: Path) -> None:
    corpus = str(make_corpus(tmp_path / "corpus"))
    for name in ("espeak-f1", "nobody"):
        with pytest.raises(UserError, match="the training voices are espeak-f2, espeak-m1"):
            STAGE.execute(FactCorpusConfig(corpus=corpus, out=str(tmp_path / name), voices=[name], **SMALL))
