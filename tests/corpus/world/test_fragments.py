from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from corpus.text.normalisation import normalise, split_sentences
from corpus.world.build_config import BuildConfig
from corpus.world.closed_world import World
from corpus.world.dialogues import heldout_dialogues
from corpus.world.documents import Documents, write_documents
from corpus.world.fragments import FragmentCutter, held_out_sentences, plan_fragments
from corpus.world.held_out import HeldOutTexts
from corpus.world.plan import TRAIN, CorpusPlan, PlannedUtterance
from corpus.world.voices import ANSWER, HELD_OUT, choose_voices
from runtime.errors import UserError

CONFIG = BuildConfig(out="", fragments=1500, num_utterances=1200, answer_voice_utterances=300, heldout_utterances=200)


@pytest.fixture(scope="module")
def documents(world: World, held_out: HeldOutTexts) -> Documents:
    return write_documents(world, held_out, train=900, held_out_count=60, seed=1)


@pytest.fixture(scope="module")
def planned(world: World, held_out: HeldOutTexts) -> list[PlannedUtterance]:
    plan = CorpusPlan(world, held_out, choose_voices("espeak", 10), 1, Path())
    dialogues = heldout_dialogues(world, held_out, 24, seed=1)
    return [*plan.utterances(CONFIG.plan_sizes()), *plan.dialogue_utterances(dialogues)]


@pytest.fixture(scope="module")
def fragments(
    world: World, held_out: HeldOutTexts, documents: Documents, planned: list[PlannedUtterance]
) -> list[PlannedUtterance]:
    return plan_fragments(CONFIG, world, held_out, documents, planned, Path())


def ranges(text: str) -> set[str]:
    """Every stretch of a text's words."""
    words = text.split()
    return {" ".join(words[first:end]) for first, end in itertools.combinations(range(len(words) + 1), 2)}


def test_no_fragment_holds_a_held_out_sentence(
    world: World,
    held_out: HeldOutTexts,
    documents: Documents,
    planned: list[PlannedUtterance],
    fragments: list[PlannedUtterance],
) -> None:
    spoken = {line.text for line in planned if line.split == TRAIN}
    kept_out = {line.text for line in planned if line.split != TRAIN}
    written = {normalise(one) for document in documents.held_out for one in split_sentences(document.text)}
    kept_out |= {text for text in written | set(world.sentences) if text in held_out}
    kept_out -= spoken  # follow-up questions are asked in training, too
    assert len(kept_out) > 400
    parts = set().union(*(ranges(line.text) for line in fragments))
    assert not parts & kept_out


def test_a_stretch_that_is_a_held_out_sentence_is_left_out(
    world: World, held_out: HeldOutTexts, documents: Documents, planned: list[PlannedUtterance]
) -> None:
    sentences = held_out_sentences(world, held_out, documents, planned)
    hidden = next(text for text in sorted(sentences) if text.startswith("the "))
    options = {"mean_words": 6.0, "random_share": 0.0, "seed": 1}
    cutter = FragmentCutter([f"now {hidden}. tom was here."], world.vocabulary, sentences, **options)
    assert cutter.holds_kept_out(f"now {hidden}") and cutter.holds_kept_out(f"{hidden} tom")
    assert not cutter.holds_kept_out(hidden.rsplit(" ", 1)[0])
    cut = {normalise(prompt) for prompt in itertools.islice(cutter.fragments(), 300)}
    assert len(cut) > 20 and not any(hidden in one for one in cut)
    free = FragmentCutter([f"now {hidden}. tom was here."], world.vocabulary, [], **options)
    assert any(hidden in normalise(prompt) for prompt in itertools.islice(free.fragments(), 300))


def test_fragments_begin_and_end_at_any_word_and_pause_between_sentences(
    world: World, documents: Documents, fragments: list[PlannedUtterance]
) -> None:
    written = "\n".join(document.text for document in documents.train)
    cut = [line for line in fragments if line.prompt.text in written]
    assert 0.75 < len(cut) / len(fragments) < 0.9  # the others are random words
    assert all(normalise(line.prompt.text) == line.text and line.text for line in fragments)
    assert not any(line.prompt.text.endswith(".") for line in fragments)
    assert sum(". " in line.prompt.text for line in cut) > len(cut) / 3
    sentences = {normalise(one) for document in documents.train for one in split_sentences(document.text)}
    first, last = ({line.text.split()[at] for line in cut} for at in (0, -1))
    assert len(first) > 130 and len(last) > 130
    assert sum(line.text in sentences for line in cut) < len(cut) / 10
    lengths = Counter(len(line.text.split()) for line in cut)
    assert set(range(1, 16)) <= set(lengths)
    mean = sum(length * count for length, count in lengths.items()) / len(cut)
    assert 6 < mean < 9  # Poisson of 10 words, half of them cut to a uniform part
    others = [line.text.split() for line in fragments if line.prompt.text not in written]
    assert set(map(len, others)) <= set(range(1, 9))
    assert {word for words in others for word in words} <= set(world.vocabulary)


def test_training_voices_have_fragments_in_proportion(
    planned: list[PlannedUtterance], fragments: list[PlannedUtterance]
) -> None:
    assert {line.split for line in fragments} == {TRAIN} and {line.kind for line in fragments} == {"fragment"}
    assert len({line.prompt.id for line in (*planned, *fragments)}) == len(planned) + len(fragments)
    assert len(fragments) == CONFIG.fragments
    roles = Counter(line.prompt.voice.role for line in fragments)
    assert roles[ANSWER] and not roles[HELD_OUT]
    before, own = (
        Counter(line.prompt.voice.name for line in lines if line.split == TRAIN) for lines in (planned, fragments)
    )
    assert len(own) == 10
    for voice, count in own.items():
        assert abs(count / len(fragments) - before[voice] / before.total()) < 0.02


def test_the_seed_decides_and_options_that_do_nothing_are_refused(
    world: World, held_out: HeldOutTexts, documents: Documents, planned: list[PlannedUtterance]
) -> None:
    def texts(**options: float) -> list[str]:
        config = BuildConfig(out="", fragments=50, **options)  # type: ignore[arg-type]
        return [line.prompt.text for line in plan_fragments(config, world, held_out, documents, planned, Path())]

    assert texts() == texts() != texts(seed=2)
    assert sum(len(text.split()) for text in texts(fragment_words=3)) < sum(len(text.split()) for text in texts())
    with pytest.raises(UserError, match="fragment_words"):
        BuildConfig(out="", fragment_words=5)
    with pytest.raises(UserError, match="fragment_random_share"):
        BuildConfig(out="", fragment_random_share=0.5)
