import random
from pathlib import Path

import pytest

from corpus.text.normalisation import normalise, split_sentences
from corpus.world.closed_world import World, questions_of
from corpus.world.dialogues import (
    FIRST,
    FOLLOW_UP,
    INDEPENDENT,
    QuestionDialogue,
    QuestionTurn,
    StoryIndex,
    dialogue_line,
    heldout_dialogues,
    read_question_dialogues,
    training_dialogues,
)
from corpus.world.documents import write_documents
from corpus.world.held_out import HeldOutTexts
from corpus.world.plan import KINDS, TRAIN, CorpusPlan, PlanSizes
from corpus.world.voices import choose_voices
from runtime.errors import UserError


def check(dialogue: QuestionDialogue, stories: StoryIndex, questions: dict[str, str]) -> None:
    """Every turn's answer is right, and a follow-up asks about the latest story, for what was not asked before."""
    told, asked = "", set()
    for turn in dialogue.turns:
        assert turn.reply.endswith(turn.answer)
        if turn.relation == FOLLOW_UP:
            about = [fact for fact in stories.of_story[told] if turn.question in fact.later]
            assert [(fact.answer, fact.reply) for fact in about] == [(turn.answer, turn.reply)]
            assert about[0].id not in asked
            asked.add(about[0].id)
        else:
            assert questions[turn.question] == turn.answer
            told = next((story for story in stories.of_story if turn.question.startswith(f"{story} ")), "")
            asked = {fact.id for fact in stories.of_story.get(told, []) if turn.question in fact.phrasings}
    assert [turn.relation == FIRST for turn in dialogue.turns] == [at == 0 for at in range(len(dialogue.turns))]


def test_each_recording_of_a_question_occurs_once_and_follow_ups_ask_about_its_story(world: World) -> None:
    questions = {f"q{number}": question.question for number, question in enumerate(world.questions)}
    later = sorted({text for fact in world.facts for text in fact.later} - {"who moved it"})
    followups = {f"f{number}": text for number, text in enumerate(later)}
    dialogues = list(training_dialogues(world, questions, followups, 3, "seed"))
    turns = [turn for dialogue in dialogues for turn in dialogue.turns]
    assert sorted(turn.utterance for turn in turns if turn.relation != FOLLOW_UP) == sorted(questions)
    assert all(({**questions, **followups})[turn.utterance] == turn.question for turn in turns)
    assert {len(dialogue.turns) for dialogue in dialogues} == {1, 2, 3}
    assert {turn.question for turn in turns if turn.relation == FOLLOW_UP} == set(later)
    assert sum(turn.relation == INDEPENDENT for turn in turns) > len(turns) / 5
    answers = {question.question: question.answer for question in world.questions}
    for dialogue in dialogues:
        check(dialogue, StoryIndex(world.facts), answers)
    assert dialogues == list(training_dialogues(world, questions, followups, 3, "seed"))
    alone = list(training_dialogues(world, questions, followups, 1, "seed"))
    assert [len(dialogue.turns) for dialogue in alone] == [1] * len(questions)


def test_no_training_data_tells_a_story_of_the_held_out_dialogues(
    world: World, held_out: HeldOutTexts, tmp_path: Path
) -> None:
    dialogues = heldout_dialogues(world, held_out, 24, seed=1)
    answers = {
        question.question: question.answer for question in (*world.questions, *questions_of(world.held_out_facts))
    }
    stories = StoryIndex(world.held_out_facts)
    for dialogue in dialogues:
        check(dialogue, stories, answers)
        relations = [turn.relation for turn in dialogue.turns]
        assert FOLLOW_UP in relations and relations[-1] == INDEPENDENT
    used = {story for story in stories.of_story for one in dialogues for turn in one.turns if story in turn.question}
    assert len(used) > 6
    sizes = PlanSizes(train=dict.fromkeys(KINDS, 400), answer={}, held_out={}, held_out_words=0)
    sizes.answer.update(dict.fromkeys(KINDS, 0))
    sizes.held_out.update(dict.fromkeys(KINDS, 0))
    plan = CorpusPlan(world, held_out, choose_voices("espeak"), 1, tmp_path)
    spoken = " | ".join(line.text for line in plan.utterances(sizes) if line.split == TRAIN)
    written = write_documents(world, held_out, train=900, held_out_count=5, seed=1).train
    texts = " | ".join(normalise(one) for document in written for one in split_sentences(document.text))
    for story in stories.of_story:
        assert story not in spoken and story not in texts and story in held_out
    lines = list(plan.dialogue_utterances(dialogues))
    assert [line.prompt.id for line in lines] == [turn.utterance for one in dialogues for turn in one.turns]
    assert all(len({line.prompt.voice.name for line in lines[at : at + 4]}) == 1 for at in range(0, len(lines), 4))


def test_dialogues_are_read_as_written(tmp_path: Path) -> None:
    names = [f"{random.Random(1).random()}-{number}" for number in range(2)]
    dialogue = QuestionDialogue(
        "a", [QuestionTurn(name, "who was it", "tom", "it was tom", "who", FIRST) for name in names]
    )
    file = tmp_path / "dialogues.jsonl"
    file.write_text(dialogue_line(dialogue) + "\n")
    assert read_question_dialogues(file) == [dialogue]
    file.write_text('{"id": "a", "turns": [{"utterance": "b"}]}\n')
    with pytest.raises(UserError, match=r"line 1: no dialogue .'question'"):
        read_question_dialogues(file)
    file.write_text("")
    with pytest.raises(UserError, match="no dialogue in it"):
        read_question_dialogues(file)
    with pytest.raises(UserError, match="no such file"):
        read_question_dialogues(tmp_path / "nothing.jsonl")
