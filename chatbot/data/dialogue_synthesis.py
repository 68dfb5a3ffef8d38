"""Text dialogues read aloud: questions in many voices, replies in one, by a text-to-token model and its quality gate.

A turn is read sentence by sentence, as the model has learnt to read; a sentence that is too long is cut between words.
What a dialogue sounds like depends on its text, its id, the model and the config alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from corpus.text.normalisation import split_sentences
from corpus.text.words import word_bounds
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import UnitFunction
from runtime.hashing import seed_of
from text2token.backends.table import open_backend
from text2token.bulk_generation import BulkGenerationConfig, speaker_shares
from text2token.gate import GOOD, OVERSIZED, judge
from text2token.speech_generation import SpeechBackend, SpeechRequest, generate_speech

from .bulk_job import read_part, result_of, write_part
from .dialogue_files import Codes, Dialogue, DialogueFingerprints


@dataclass(frozen=True, kw_only=True)
class DialogueSynthesis:
    """The `runtime.bulk.workers.Work` of the synthesis of dialogues.

    Attributes:
        root: the job's folder.
        speech: options of the generation, with an absolute path of the model.
        seed: of speakers and samples.
        reply_speaker: speaker of the replies.
        question_speakers: speaker -> share of the dialogues whose questions it asks.
        max_words: of a piece that is generated at once.
    """

    root: Path
    speech: BulkGenerationConfig
    seed: int
    reply_speaker: str
    question_speakers: dict[str, float]
    max_words: int

    def start(self, number: int) -> UnitFunction:
        """Load the model in worker ``number``."""
        import torch

        torch.set_num_threads(self.speech.threads)
        vocabulary = Vocabulary.from_pretrained(self.speech.model)
        backend = open_backend(self.speech.backend, self.speech, self.speech.device(number), vocabulary)
        speaker = DialogueSpeaker(self, backend, vocabulary)
        return lambda attempt: self.finish(attempt, speaker)

    def finish(self, attempt: UnitAttempt, speaker: DialogueSpeaker) -> dict[str, Any]:
        """Write a unit's file; returns what it holds and what was left out."""
        left_out: Counter[str] = Counter()
        spoken = speaker.speak(read_part(self.root, attempt.unit), left_out)
        vocabulary = speaker.vocabulary
        marks = DialogueFingerprints(
            tokenizer=vocabulary.speech_fingerprint, codebook_size=vocabulary.num_speech_tokens
        )
        write_part(attempt, spoken, marks)
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
        self.question_speakers = speaker_shares(work.question_speakers, vocabulary)

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
        names, weights = self.question_speakers
        return draw.choices(names, weights=weights)[0], self.work.reply_speaker

    def readings(self, id: str, number: int, text: str, speaker: str) -> list[SpeechRequest]:
        """The pieces of a turn as they are to be read; those without a word to say are left out."""
        spoken = [self.work.speech.model_text(piece) for piece in pieces_of(text, self.work.max_words)]
        return [
            SpeechRequest(words, speaker, seed_of(self.work.seed, id, number, piece))
            for piece, words in enumerate(spoken or [""])
            if words or len(spoken) <= 1
        ]

    def read(self, readings: dict[Place, SpeechRequest]) -> tuple[dict[Place, Codes], dict[Place, str]]:
        """Speech tokens of the pieces that pass the gate, and why the others do not."""
        codes: dict[Place, Codes] = {}
        gate = self.work.speech.gate
        faults = {place: "nothing to say" for place, reading in readings.items() if not reading.text}
        left = [place for place in readings if place not in faults]
        for attempt in range(self.work.speech.retries + 1):
            asked = [readings[place] for place in left]
            if attempt:
                asked = [reading._replace(seed=seed_of(reading.seed, "again", attempt)) for reading in asked]
            read = generate_speech(asked, self.backend, self.vocabulary, self.work.speech)
            for place, reading, one in zip(left, asked, read, strict=True):
                verdict = OVERSIZED if one.is_oversized else judge(reading.text, one.codes, one.is_finished, gate)
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
