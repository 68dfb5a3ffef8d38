"""The plan of the built-in corpus: text, kind, voice and split of every utterance, fixed by the seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from corpus.manifest import Utterance
from corpus.text.normalisation import join_sentences

from .closed_world import World
from .dialogues import FOLLOW_UP, QuestionDialogue
from .facts import PEOPLE
from .held_out import HeldOutTexts
from .situations import story
from .synthesis import Prompt
from .voices import ANSWER, HELD_OUT, SEEN, WorldVoice

SPLITS = ("train", "heldout_sentence", "heldout_voice", "heldout_words", "heldout_dialogue")
TRAIN, HELD_OUT_SENTENCE, HELD_OUT_VOICE, HELD_OUT_WORDS, HELD_OUT_DIALOGUE = SPLITS
KINDS = ("question", "statement", "random", "story", "followup")
QUESTION_WORDS = ("where", "what", "which", "who")
RANDOM_LENGTH = (4, 8)
MAX_STORY_SENTENCES = 4
Item = TypeVar("Item")
ANSWER_WEIGHT = 4  # of the answer voice among the voices of heldout_sentence: the decoder speaks in it alone


@dataclass(frozen=True)
class PlannedUtterance:
    """One utterance to synthesise: its transcript, and the prompt (the same words with punctuation) for the engine."""

    split: str
    kind: str
    text: str
    prompt: Prompt

    @classmethod
    def by_voice(
        cls, voice: WorldVoice, folder: Path, id: str, spoken: str, *, split: str, kind: str, text: str
    ) -> PlannedUtterance:
        """An utterance whose file lies in the voice's own folder of ``folder``; ``spoken`` is the engine's text."""
        return cls(split, kind, text, Prompt(id, spoken, voice, folder / voice.name / f"{id}.flac"))

    def spoken(self, durations: Mapping[str, float]) -> Utterance:
        """The utterance, of which the seconds are known by its id."""
        id, voice = self.prompt.id, self.prompt.voice.name
        return Utterance(id, self.prompt.path, durations[id], self.text, voice, kind=self.kind)


def voices_in_turn(voices: Sequence[WorldVoice], count: int, seed: str) -> list[WorldVoice]:
    """``count`` voices, each equally often (one more or less), in random order."""
    turns = [voices[number % len(voices)] for number in range(count)]
    random.Random(seed).shuffle(turns)
    return turns


@dataclass(frozen=True, kw_only=True)
class PlanSizes:
    """Numbers of utterances.

    Attributes:
        train: for each kind, in the seen voices.
        answer: for each kind, in the answer voice, besides all replies.
        held_out: for each kind of sentence, in heldout_sentence and again in heldout_voice.
        held_out_words: random word strings, in heldout_words.
    """

    train: dict[str, int]
    answer: dict[str, int]
    held_out: dict[str, int]
    held_out_words: int


class CorpusPlan:
    """Composes the utterances of all splits.

    Args:
        world: the sentences, questions and replies to speak.
        held_out: the texts that training data must not contain.
        voices: of all roles.
        seed: of all choices.
        folder: of the audio, with one folder a voice.
    """

    def __init__(
        self, world: World, held_out: HeldOutTexts, voices: Sequence[WorldVoice], seed: int, folder: Path
    ) -> None:
        self.world, self.held_out, self.seed, self.folder = world, held_out, seed, folder
        self.voices = {role: [voice for voice in voices if voice.role == role] for role in (SEEN, HELD_OUT, ANSWER)}
        self.random_strings: set[str] = set()

    def utterances(self, sizes: PlanSizes) -> list[PlannedUtterance]:
        """All utterances of the built-in corpus."""
        answer, unseen = self.voices[ANSWER], self.voices[HELD_OUT]
        seen = self.voices[SEEN] or answer  # seen_voices=1
        evenly = [*seen, *answer * ANSWER_WEIGHT]
        words = dict.fromkeys(KINDS, 0) | {"random": sizes.held_out_words}
        replies = [(reply, f"{reply}.") for reply in self.world.replies]
        return [
            *self._compose(TRAIN, "", sizes.train, seen, is_held_out=False),
            *self._compose(TRAIN, "answer-", sizes.answer, answer, is_held_out=False),
            *self._assign(TRAIN, "", "reply", replies, answer),
            *self._compose(HELD_OUT_SENTENCE, "", sizes.held_out, evenly, is_held_out=True),
            *self._compose(HELD_OUT_VOICE, "", sizes.held_out, unseen, is_held_out=True),
            *self._compose(HELD_OUT_WORDS, "", words, evenly, is_held_out=True),
        ]

    def dialogue_utterances(self, dialogues: Sequence[QuestionDialogue]) -> Iterator[PlannedUtterance]:
        """The utterances of held-out dialogues, each dialogue in one training voice, the voices in turn."""
        voices = [*self.voices[SEEN], *self.voices[ANSWER]]
        for number, dialogue in enumerate(dialogues):
            voice = voices[number % len(voices)]
            for turn in dialogue.turns:
                yield PlannedUtterance.by_voice(
                    voice,
                    self.folder,
                    turn.utterance,
                    spoken_question(turn.question),
                    split=HELD_OUT_DIALOGUE,
                    kind="followup" if turn.relation == FOLLOW_UP else "question",
                    text=turn.question,
                )

    def _compose(
        self, split: str, tag: str, counts: dict[str, int], voices: list[WorldVoice], *, is_held_out: bool
    ) -> Iterator[PlannedUtterance]:
        sources: dict[str, Callable[[random.Random, bool], Iterator[tuple[str, str]]]] = {
            "question": self._questions,
            "statement": self._statements,
            "random": self._random_words,
            "story": self._stories,
            "followup": self._followups,
        }
        for kind in KINDS:
            rng = random.Random(f"plan {self.seed} {split} {tag}{kind}")
            texts = list(itertools.islice(sources[kind](rng, is_held_out), counts[kind]))
            yield from self._assign(split, tag, kind, texts, voices)

    def _assign(
        self, split: str, tag: str, kind: str, texts: list[tuple[str, str]], voices: list[WorldVoice]
    ) -> Iterator[PlannedUtterance]:
        """Give (transcript, prompt text) pairs to voices, evenly."""
        turns = voices_in_turn(voices, len(texts), f"voices {self.seed} {split} {tag}{kind}")
        for number, ((text, spoken), voice) in enumerate(zip(texts, turns, strict=True)):
            id = f"{split}-{tag}{kind}-{number:05d}"
            yield PlannedUtterance.by_voice(voice, self.folder, id, spoken, split=split, kind=kind, text=text)

    def _questions(self, rng: random.Random, is_held_out: bool) -> Iterator[tuple[str, str]]:
        """Every question once, then further ones with an equal share for each topic, small ones included."""
        topics: dict[str, list[str]] = {}
        for question in self.world.questions:
            if (question.question in self.held_out) == is_held_out:
                topics.setdefault(question.topic, []).append(question.question)
        first = endless([question for questions in topics.values() for question in questions], rng)
        num_questions = sum(map(len, topics.values()))
        further = [endless(questions, rng) for questions in topics.values()]
        turns = itertools.cycle(further)
        more = (next(turn) for turn in turns)
        for text in itertools.chain(itertools.islice(first, num_questions), more):
            yield text, spoken_question(text)

    def _statements(self, rng: random.Random, is_held_out: bool) -> Iterator[tuple[str, str]]:
        statements = [text for text in self.world.statements if (text in self.held_out) == is_held_out]
        return ((text, f"{text}.") for text in endless(statements, rng))

    def _random_words(self, rng: random.Random, is_held_out: bool) -> Iterator[tuple[str, str]]:
        """Words of the vocabulary in random order: examples of sounds without grammar."""
        vocabulary = self.world.vocabulary
        while True:
            text = " ".join(rng.choice(vocabulary) for _ in range(rng.randint(*RANDOM_LENGTH)))
            if (text in self.held_out) == is_held_out and text not in self.random_strings:
                self.random_strings.add(text)
                yield text, f"{text}."

    def _followups(self, rng: random.Random, is_held_out: bool) -> Iterator[tuple[str, str]]:
        """Questions about an earlier turn's story; the story can be held out, not the question."""
        later = {question: None for fact in self.world.facts for question in fact.later}
        texts = [] if is_held_out else list(later)
        return ((text, f"{text}?") for text in endless(texts, rng))

    def _stories(self, rng: random.Random, is_held_out: bool) -> Iterator[tuple[str, str]]:
        while True:
            sentences = story(rng)
            if len(sentences) <= MAX_STORY_SENTENCES:
                text = " ".join(sentences)
                if self.held_out.overlaps([text, *sentences]) == is_held_out:
                    yield text, join_sentences(sentences)


def endless(items: list[Item], rng: random.Random) -> Iterator[Item]:
    """All items in random order, then again in another order, without end (nothing if there are none)."""
    while items:
        yield from rng.sample(items, len(items))


def spoken_question(question: str) -> str:
    """The question with a question mark, and a comma after the situation that it begins with."""
    words = question.split()
    if words[0] in PEOPLE:
        at = next(number for number, word in enumerate(words) if word in QUESTION_WORDS)
        words[at - 1] += ","
    return " ".join(words) + "?"
