import itertools
import random
from pathlib import Path

import pytest

from corpus.text.normalisation import normalise, split_sentences
from corpus.world.closed_world import World
from corpus.world.documents import write_documents
from corpus.world.facts import DAYS, MONTHS, NUMBERS
from corpus.world.held_out import HeldOutTexts
from corpus.world.plan import KINDS, TRAIN, CorpusPlan, PlanSizes, spoken_question
from corpus.world.situations import clock_story, story
from corpus.world.voices import HELD_OUT, choose_voices


def test_the_world_is_large_in_sentences_and_small_in_words(world: World) -> None:
    assert len(world.sentences) >= 3000
    assert 150 <= len(world.vocabulary) <= 220
    assert all(normalise(sentence) == sentence for sentence in world.sentences)


def test_every_word_is_in_the_judges_dictionary_and_has_no_homophone(world: World) -> None:
    pocketsphinx = pytest.importorskip("pocketsphinx")
    entries = Path(pocketsphinx.get_model_path(), "en-us", "cmudict-en-us.dict").read_text().splitlines()
    words = set(world.vocabulary)
    sounds: dict[tuple[str, ...], set[str]] = {}
    for word, *phonemes in map(str.split, entries):
        if (word := word.split("(")[0]) in words:
            sounds.setdefault(tuple(phonemes), set()).add(word)
    assert set().union(*sounds.values()) == words
    assert [pair for pair in sounds.values() if len(pair) > 1] == []


def test_each_question_has_one_right_answer_that_ends_the_reply(world: World) -> None:
    assert len({question.question for question in world.questions}) == len(world.questions)
    assert len({question.id for question in world.questions}) == len(world.questions)
    for question in world.questions:
        assert question.reply.split()[-len(question.answer.split()) :] == question.answer.split()
        assert 3 <= len(question.question.split()) <= 14
    for fact in world.facts:
        assert 2 <= len(fact.phrasings) <= 4 or (fact.later and not fact.phrasings)
        assert all(
            any(phrasing.startswith(story) for story in fact.stories) or not fact.stories for phrasing in fact.phrasings
        )


def test_the_answers_are_true(world: World) -> None:
    answers = {question.question: question.answer for question in world.questions}
    assert answers["what time is it four hours after seven o'clock"] == "eleven o'clock"
    assert answers["what is two hours before one o'clock"] == "eleven o'clock"
    assert answers["what day comes after sunday"] == "monday"
    assert answers["which month is before january"] == "december"
    assert answers["name the capital of france"] == "paris"
    for a in range(1, 10):
        for b in range(1, 10):
            assert answers[f"what is {NUMBERS[a - 1]} plus {NUMBERS[b - 1]}"] == NUMBERS[a + b - 1]
    for names, unit in ((DAYS, "day"), (MONTHS, "month")):
        for before, after in itertools.pairwise(names):
            assert answers[f"what {unit} comes after {before}"] == after
            assert answers[f"what {unit} comes before {after}"] == before


def test_situations_are_answered_from_their_own_words(world: World) -> None:
    topics = {"where", "tint", "who", "holder", "held", "moved"}
    asked = [question for question in world.questions if question.topic in topics]
    assert {question.topic for question in asked} == topics
    for question in asked:
        assert question.answer in question.question.split()


def test_follow_ups_are_answered_by_the_story(world: World) -> None:
    topics = {"where", "tint", "who", "moved", "mover"}
    facts = [fact for fact in (*world.facts, *world.held_out_facts) if fact.later]
    assert {fact.topic for fact in facts} == topics
    asked: dict[tuple[str, str], str] = {}
    for fact in facts:
        for told in fact.stories:
            assert fact.answer in told.split()
            for question in fact.later:
                assert asked.setdefault((told, question), fact.answer) == fact.answer


def test_the_same_seed_gives_the_same_world() -> None:
    assert World(seed=3).questions == World(seed=3).questions
    assert World(seed=3).statements == World(seed=3).statements
    assert World(seed=3).questions != World(seed=4).questions


def test_stories_are_short_and_end_where_the_thing_was_put(world: World) -> None:
    rng = random.Random(1)
    for _ in range(200):
        sentences = story(rng)
        assert 3 <= len(sentences) <= 6
        last = [sentence for sentence in sentences if " in the " in sentence or " into the " in sentence][-2:]
        assert last[0].split()[-1] == last[1].split()[-1]
        assert {word for text in (*sentences, *clock_story(rng)) for word in text.split()} <= set(world.vocabulary)


def test_what_is_held_out_was_seen_in_other_words(world: World, held_out: HeldOutTexts) -> None:
    questions = {question.question for question in world.questions if question.question in held_out}
    assert 0.07 < len(questions) / len(world.questions) < 0.13
    for fact in world.facts:
        for group in (fact.statements, fact.phrasings):
            assert not group or not all(text in held_out for text in group)
    assert not any(reply in held_out for reply in world.replies)


def test_training_texts_hold_no_held_out_sentence(world: World, held_out: HeldOutTexts) -> None:
    documents = write_documents(world, held_out, train=900, held_out_count=30, seed=1)
    assert (len(documents.train), len(documents.held_out)) == (900, 30)
    for document in documents.train:
        assert not held_out.overlaps(map(normalise, split_sentences(document.text)))
    for document in documents.held_out:
        assert held_out.overlaps(map(normalise, split_sentences(document.text)))
    texts = [document.text for document in (*documents.train, *documents.held_out)]
    assert len(set(texts)) == len(texts)
    assert {document.kind for document in documents.train} == {"story", "facts", "questions"}


def test_splits_share_no_text_and_no_held_out_voice(world: World, held_out: HeldOutTexts, tmp_path: Path) -> None:
    voices = choose_voices("espeak")
    count = dict.fromkeys(KINDS, 60)
    sizes = PlanSizes(train=count | {"question": 2500}, answer=count, held_out=count, held_out_words=4)
    lines = CorpusPlan(world, held_out, voices, 1, tmp_path).utterances(sizes)
    train = [line for line in lines if line.split == TRAIN]
    others = [line for line in lines if line.split != TRAIN]
    assert not {line.text for line in train} & {line.text for line in others}
    heard = {line.prompt.voice.name for line in train} | {
        line.prompt.voice.name for line in others if line.split == "heldout_sentence"
    }
    assert not heard & {voice.name for voice in voices if voice.role == HELD_OUT}
    assert {line.prompt.voice.role for line in lines if line.split == "heldout_voice"} == {HELD_OUT}
    assert all(normalise(line.prompt.text) == line.text for line in lines)
    asked = {question.question for question in world.questions if question.question not in held_out}
    assert {line.text for line in train if line.kind == "question"} == asked
    replies = [line for line in train if line.kind == "reply"]
    assert sorted(line.text for line in replies) == sorted(world.replies)
    assert {line.prompt.voice.role for line in replies} == {"answer"}


def test_a_question_is_spoken_with_punctuation() -> None:
    assert spoken_question("tom put the key in the box where is the key") == (
        "tom put the key in the box, where is the key?"
    )
    assert spoken_question("what is one plus one") == "what is one plus one?"
