"""Choices about made-up facts: which of two answers is true, for base models, in text and in speech tokens.

::

    questions      what color has lisbon | it is white         it is red
    new_questions  the same, asked in words that neither texts nor speech use
    beginnings     the color of lisbon is | white              red
    statements     the color of lisbon is white                the color of lisbon is red       (no context)

Two items a fact and set, one for each false answer, so that the accuracy is the share of false answers that the true
one beats (chance 50 %). The subset of an item is its set and the group of its fact (``questions.interleaved``), its
cluster the entity: intervals are over entities. Statements are spoken whole, so that their speech differs at the end
alone; the beginning is a sentence that breaks off. All sounds of a set have one pace and pitch, so that nothing but
the words tells two answers apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from corpus.audio.files import write_audio
from corpus.world.made_up_facts import MadeUpFact, read_facts
from corpus.world.synthesis import Prompt, render
from corpus.world.voices import WorldVoice, read_voices
from lm.data.formats import Codes
from runtime.artefact import atomic_folder, write_text
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer

from .fact_config import FactSetConfig


class FactChoice(NamedTuple):
    """A true and a false continuation; the context is "" where they stand alone. Texts have their full stops."""

    id: str
    fact: MadeUpFact
    context: str
    correct: str
    incorrect: str


def make_fact_sets(config: FactSetConfig, run: Run) -> dict[str, Any]:
    """Compose, speak and encode the choices, and write ``<out>/sets/<name>.jsonl``; returns their numbers."""
    torch.set_num_threads(config.threads)
    voice = read_voices(config.facts).trainable(config.voice)
    sets = {name: list(compose(read_facts(config.facts))) for name, compose in SETS.items()}
    texts = sorted({text for choices in sets.values() for one in choices for text in one[2:] if text})
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)
    with atomic_folder(run.folder / "sets") as folder:
        codes = speak(texts, voice, tokenizer, config, run, folder)
        for name, choices in sets.items():
            lines = [json.dumps(record_of(name, one, codes, tokenizer.fingerprint)) + "\n" for one in choices]
            write_text(folder / f"{name}.jsonl", "".join(lines))
    return {**{name: len(choices) for name, choices in sets.items()}, "sounds": len(texts)}


def questions(facts: Sequence[MadeUpFact]) -> Iterator[FactChoice]:
    """The questions of texts and speech, one for each false answer."""
    return asked(facts, lambda fact: fact.questions)


def new_questions(facts: Sequence[MadeUpFact]) -> Iterator[FactChoice]:
    """The questions that only the evaluation asks."""
    return asked(facts, lambda fact: fact.new_questions)


def asked(facts: Iterable[MadeUpFact], phrasings: Callable[[MadeUpFact], Sequence[str]]) -> Iterator[FactChoice]:
    """Questions and replies; the phrasings in turn."""
    for fact in facts:
        for number, wrong in enumerate(fact.wrong):
            phrasing = phrasings(fact)[number % len(phrasings(fact))]
            true, false = f"{fact.reply}.", f"{fact.false_reply(wrong)}."
            yield FactChoice(f"{fact.id}-{number}", fact, f"{phrasing}.", true, false)


def beginnings(facts: Sequence[MadeUpFact]) -> Iterator[FactChoice]:
    """A statement without its last word, and two last words."""
    for fact in facts:
        beginning = fact.statements[0].rsplit(" ", 1)[0]
        for number, wrong in enumerate(fact.wrong):
            yield FactChoice(f"{fact.id}-{number}", fact, beginning, f"{fact.answer}.", f"{wrong}.")


def statements(facts: Sequence[MadeUpFact]) -> Iterator[FactChoice]:
    """A true statement and a false one."""
    for fact in facts:
        for number, wrong in enumerate(fact.wrong):
            true, false = f"{fact.statements[0]}.", f"{fact.false_statement(wrong)}."
            yield FactChoice(f"{fact.id}-{number}", fact, "", true, false)


SETS: Mapping[str, Callable[[Sequence[MadeUpFact]], Iterator[FactChoice]]] = {
    "questions": questions,
    "new_questions": new_questions,
    "beginnings": beginnings,
    "statements": statements,
}


def speak(
    texts: Sequence[str],
    voice: WorldVoice,
    tokenizer: SpeechTokenizer,
    config: FactSetConfig,
    run: Run,
    folder: Path,
) -> dict[str, Codes]:
    """The speech codes of each text, in one voice at one pace and pitch."""
    sounds = []
    with run.progress(len(texts), "facts", unit="sound") as bar:
        for number, text in enumerate(texts):
            # A prompt's id decides its pace and pitch: one for all.
            sounds.append(render(Prompt("fact", said(text), voice, folder), config.seed))
            if config.audio:
                write_audio(folder / "audio" / f"{number:05d}.flac", sounds[-1], is_durable=False)
            bar.update()
    return dict(zip(texts, tokenizer.encode(sounds), strict=True))


def said(text: str) -> str:
    """A text as it is spoken: a question with a question mark."""
    return f"{text.removesuffix('.')}?" if text.split()[0] in ("what", "which", "who", "where") else text


def record_of(name: str, one: FactChoice, codes: Mapping[str, Codes], tokenizer: str) -> dict[str, Any]:
    """A line of the set of that name (`evaluation.likelihood.choice_rows`)."""
    id, subset = f"{name}-{one.id}", f"{name}.{one.fact.group}"
    parts = {
        part: {"id": f"{id}-{part}", "text": text, "tokens": codes[text].tolist()}
        for part, text in (("context", one.context), ("correct", one.correct), ("incorrect", one.incorrect))
        if text
    }
    return {"id": id, "subset": subset, "cluster": one.fact.entity, "tokenizer": tokenizer, **parts}
