"""Text dialogues read aloud: questions in many voices, replies in one, by a text-to-token model and its quality gate.

A turn is read sentence by sentence, as the model has learnt to read; a sentence that is too long is cut between words.
What a dialogue sounds like depends on its text, its id, the model and the config alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corpus.text.normalisation import split_sentences
from corpus.text.words import word_bounds
from runtime.bulk.attempt import UnitAttempt
from runtime.hashing import seed_of
from text2token.gate import GOOD, OVERSIZED, GateConfig, judge

from .bulk_job import read_part, result_of, write_part
from .dialogue_files import Codes, Dialogue, DialogueFingerprints

if TYPE_CHECKING:
    from lm.data.vocabulary import Vocabulary
    from text2token.engine import Reading, SpanVoice, SpeechBackend


@dataclass(frozen=True, kw_only=True)
class DialogueSynthesis:
    """All that a worker needs, as plain data (a `runtime.bulk.workers.Work`).

    Attributes:
        root: the job's folder.
        model: the exported text-to-token model.
        backend: what generates, one of `text2token.backends.choice.BACKENDS`.
        marks: of the files.
        questions: how questions are read, and by whom.
        reply_speaker: who reads replies.
        gate: which speech is taken.
        max_words: of what is read at once.
        seed: of the corpus.
        retries: how often what fails the gate is read again, by another seed.
        batch_size: prompts generated at once.
        dtype: of the model's weights.
        devices: where to run; workers take them in turn.
        threads: of torch, in each process.
    """

    root: Path
    model: str
    backend: str
    marks: DialogueFingerprints
    questions: SpanVoice
    reply_speaker: str
    gate: GateConfig
    max_words: int
    seed: int
    retries: int
    batch_size: int
    dtype: str
    devices: tuple[str, ...]
    threads: int

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        """Load the model."""
        import torch

        from lm.data.vocabulary import Vocabulary
        from text2token.backends.choice import BackendOptions, open_backend

        torch.set_num_threads(self.threads)
        vocabulary = Vocabulary.from_pretrained(self.model)
        options = BackendOptions(
            folder=self.model,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=self.devices[number % len(self.devices)],
        )
        speaker = DialogueSpeaker(self, open_backend(self.backend, options, vocabulary), vocabulary)
        return lambda attempt: self.finish(attempt, speaker)

    def finish(self, attempt: UnitAttempt, speaker: DialogueSpeaker) -> dict[str, Any]:
        """Write a unit's file; returns what it holds and what was left out."""
        left_out: Counter[str] = Counter()
        spoken = speaker.speak(read_part(self.root, attempt.unit), left_out)
        write_part(attempt, spoken, self.marks)
        return result_of(spoken, left_out)


class Place(NamedTuple):
    """Where a piece of speech belongs: dialogue, turn, and its number within the turn."""

    dialogue: int
    turn: int
    piece: int


class DialogueSpeaker:
    """Reads dialogues aloud.

    Args:
        work: the options.
        backend: generates.
        vocabulary: of the model.
    """

    def __init__(self, work: DialogueSynthesis, backend: SpeechBackend, vocabulary: Vocabulary) -> None:
        self.work, self.backend, self.vocabulary = work, backend, vocabulary

    def speak(self, dialogues: Sequence[Dialogue], left_out: Counter[str]) -> list[Dialogue]:
        """The dialogues with speech tokens; those with a piece that fails the gate are left out and counted."""
        speakers = [self.speakers(dialogue) for dialogue in dialogues]
        readings = {
            Place(at, number, piece): reading
            for at, dialogue in enumerate(dialogues)
            for number, turn in enumerate(dialogue.turns)
            for piece, reading in enumerate(self.readings(dialogue.id, number, turn.text, speakers[at][number % 2]))
        }
        codes, faults = self.read(readings)
        spoken = []
        for at, dialogue in enumerate(dialogues):
            found = next((faults[place] for place in readings if place.dialogue == at and place in faults), "")
            if found:
                left_out[found] += 1
                continue
            turns = []
            for number, turn in enumerate(dialogue.turns):
                pieces = [codes[place] for place in readings if (place.dialogue, place.turn) == (at, number)]
                turns.append(replace(turn, tokens=np.concatenate(pieces), speaker=speakers[at][number % 2]))
            spoken.append(replace(dialogue, turns=turns))
        return spoken

    def speakers(self, dialogue: Dialogue) -> tuple[str, str]:
        """Who asks and who replies in a dialogue."""
        draw = random.Random(f"speaker {self.work.seed} {dialogue.id}")
        voice = self.work.questions
        return draw.choices(voice.names, weights=voice.weights)[0], self.work.reply_speaker

    def readings(self, id: str, number: int, text: str, speaker: str) -> list[Reading]:
        """The pieces of a turn as they are to be read; those without a word to say are left out."""
        from text2token.engine import Reading

        spoken = [self.work.questions.spoken(piece) for piece in pieces_of(text, self.work.max_words)]
        return [
            Reading(words, speaker, seed_of(self.work.seed, id, number, piece))
            for piece, words in enumerate(spoken or [""])
            if words or len(spoken) <= 1
        ]

    def read(self, readings: dict[Place, Reading]) -> tuple[dict[Place, Codes], dict[Place, str]]:
        """Speech tokens of the pieces that pass the gate, and why the others do not."""
        from text2token.engine import read_aloud

        codes: dict[Place, Codes] = {}
        faults = {place: "nothing to say" for place, reading in readings.items() if not reading.spoken}
        left = [place for place in readings if place not in faults]
        for attempt in range(self.work.retries + 1):
            asked = [readings[place] for place in left]
            if attempt:
                asked = [reading._replace(seed=seed_of(reading.seed, "again", attempt)) for reading in asked]
            read = read_aloud(asked, self.backend, self.vocabulary, self.work.questions, self.work.gate)
            for place, reading, one in zip(left, asked, read, strict=True):
                verdict = (
                    OVERSIZED if one.is_too_long else judge(reading.spoken, one.codes, one.is_finished, self.work.gate)
                )
                if verdict == GOOD:
                    codes[place] = one.codes
                    faults.pop(place, None)
                else:
                    faults[place] = f"{'reply' if place.turn % 2 else 'question'} {verdict}"
            left = [place for place in left if place in faults and not faults[place].endswith(OVERSIZED)]
            if not left:
                break
        return codes, faults


def pieces_of(text: str, max_words: int) -> list[str]:
    """Sentences of a text; one of more than ``max_words`` words is cut into pieces as equal as may be."""
    pieces: list[str] = []
    for sentence in split_sentences(text):
        bounds = word_bounds(sentence)
        count = -(-len(bounds) // max_words)
        edges = [round(len(bounds) * number / count) for number in range(count + 1)] if count else []
        pieces += [sentence[bounds[first][0] : bounds[last - 1][1]] for first, last in pairwise(edges)]
    return pieces
