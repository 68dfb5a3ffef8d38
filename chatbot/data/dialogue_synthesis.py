"""Synthesis of text dialogues: questions in many voices, replies in one, by a text-to-token model and its quality gate.

A turn is generated sentence by sentence, as in the model's training; a sentence that is too long is cut between words.
The speech of a dialogue depends on its text, its id, the model and the config alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from corpus.text.normalisation import split_sentences
from corpus.text.words import word_bounds
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import ConfiguredWork, UnitFunction
from runtime.hashing import seed_of
from runtime.stage import Run
from text2token.backends.table import open_backend
from text2token.gate import GOOD, OVERSIZED, judge
from text2token.speech_generation import SpeechBackend, SynthesisRequest, generate_speech

from .bulk_job import check_left_out, finish_job, open_job, read_part, result_of, write_part
from .dialogue_files import Codes, Dialogue, DialogueFingerprints
from .dialogues_config import DialoguesConfig
from .gathering import Gatherer


def synthesise_dialogues(config: DialoguesConfig, run: Run) -> dict[str, Any]:
    """Gather what can be spoken, then finish the units that are not finished yet; returns what they hold.

    Raises:
        UserError: a speaker that the model does not know, nothing that can be spoken, or too much left out.
    """
    vocabulary = Vocabulary.from_pretrained(config.model)
    run.say(f"chatbot.dialogues, questions: {config.shares_of(config.question_speakers, vocabulary)}")
    vocabulary.speaker_id(config.reply_speaker)
    gatherer = Gatherer(run.folder, config.filter, config.shorten, config.requests, config.max_bad_share)
    sources = {"train": config.texts, "heldout": config.texts_heldout}
    with run.progress(0, "dialogues", unit="reply") as bar:
        gathered = {split: gatherer.gather(source, split, bar) for split, source in sources.items() if source}
    counts = {split: int(found["dialogues"]) for split, found in gathered.items()}
    job = open_job(run.folder, counts, unit_dialogues=config.unit_dialogues, lease_seconds=config.bulk.lease_seconds)
    model = str(Path(config.model).absolute())  # workers may have another working directory
    work = ConfiguredWork(replace(config, model=model), open_speaker)
    total = finish_job(job, work, config.bulk, processes=config.processes, run=run)
    remedy = f"train the model longer, widen gate.*, or raise max_rejected_share={config.max_rejected_share}"
    check_left_out(total, config.max_rejected_share, config.model, remedy)
    ended: Counter[str] = Counter()
    for found in gathered.values():
        ended.update(found["ended"])
    return {
        "gathered": sum(counts.values()),
        "shortened": sum(found["shortened"] for found in gathered.values()),
        "bad_records": sum(len(found["bad"]) for found in gathered.values()),
        **{f"ended.{reason}": count for reason, count in sorted(ended.items())},
        **dict(sorted(total.items())),
        "failed_units": len(job.failed_names()),
    }


def open_speaker(config: DialoguesConfig, number: int) -> UnitFunction:
    """Load the model in worker ``number``."""
    torch.set_num_threads(config.threads)
    vocabulary = Vocabulary.from_pretrained(config.model)
    backend = open_backend(config.backend, config, config.device(number), vocabulary)
    speaker = DialogueSpeaker(config, backend, vocabulary)
    return lambda attempt: speak_unit(attempt, speaker)


def speak_unit(attempt: UnitAttempt, speaker: DialogueSpeaker) -> dict[str, Any]:
    """Write a unit's file; returns the counts of its content and of the dialogues left out, by reason."""
    left_out: Counter[str] = Counter()
    spoken = speaker.speak(read_part(attempt.root, attempt.unit), left_out)
    vocabulary = speaker.vocabulary
    fingerprints = DialogueFingerprints(
        tokenizer=vocabulary.speech_fingerprint, codebook_size=vocabulary.num_speech_tokens
    )
    write_part(attempt, spoken, fingerprints)
    return result_of(spoken, left_out)


class Place(NamedTuple):
    """Place of a piece of speech: dialogue, turn, and its number within the turn."""

    dialogue: int
    turn: int
    piece: int


class DialogueSpeaker:
    """Reads dialogues aloud.

    Args:
        config: of the generation.
        backend: generates.
        vocabulary: of the model.
    """

    def __init__(self, config: DialoguesConfig, backend: SpeechBackend, vocabulary: Vocabulary) -> None:
        self.config, self.backend, self.vocabulary = config, backend, vocabulary
        self.question_speakers = config.shares_of(config.question_speakers, vocabulary)

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
        """The speakers of a dialogue's questions and of its replies."""
        draw = random.Random(f"speaker {self.config.seed} {dialogue.id}")
        names, shares = self.question_speakers.speakers, self.question_speakers.shares
        return draw.choices(names, weights=shares)[0], self.config.reply_speaker

    def readings(self, id: str, number: int, text: str, speaker: str) -> list[SynthesisRequest]:
        """The pieces of a turn as they are to be read; those without a word to say are left out."""
        spoken = [
            self.config.normal_form(piece)
            for sentence in split_sentences(text)
            for piece in pieces_of(self.config.written_out(sentence), self.config.max_words)
        ]
        return [
            SynthesisRequest(words, speaker, seed_of(self.config.seed, id, number, piece))
            for piece, words in enumerate(spoken or [""])
            if words or len(spoken) <= 1
        ]

    def read(self, readings: dict[Place, SynthesisRequest]) -> tuple[dict[Place, Codes], dict[Place, str]]:
        """Speech tokens of the pieces that pass the gate, and why the others do not."""
        codes: dict[Place, Codes] = {}
        gate = self.config.gate
        faults = {place: "nothing to say" for place, reading in readings.items() if not reading.text}
        left = [place for place in readings if place not in faults]
        for attempt in range(self.config.retries + 1):
            asked = [readings[place] for place in left]
            if attempt:
                asked = [reading._replace(seed=seed_of(reading.seed, "again", attempt)) for reading in asked]
            read = generate_speech(asked, self.backend, self.vocabulary, self.config)
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
