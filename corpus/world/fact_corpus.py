"""The corpus of made-up facts: texts by group, speech of the group ``spoken`` alone; nothing leaks."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus.audio.room_simulation import RoomConfig
from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import read_manifest, write_manifest
from corpus.text.normalisation import normalise
from runtime.artefact import read_json, write_json, write_text
from runtime.bulk.workers import num_available_cpus
from runtime.errors import UserError
from runtime.stage import Run

from .closed_world import World
from .fact_config import FactCorpusConfig
from .fact_documents import FactDocument, GroupTexts, write_group
from .made_up_facts import GROUPS, SPOKEN, FactIndex, MadeUpFact, made_up_facts, write_facts
from .plan import RANDOM_LENGTH, PlannedUtterance, endless, voices_in_turn
from .synthesis import Prompt, synthesise
from .voices import WorldVoice, read_voices

TRAIN, HELD_OUT_SENTENCE = "train", "heldout_sentence"
Sentence = tuple[str, str, str]  # kind, transcript, prompt


def build_fact_corpus(config: FactCorpusConfig, run: Run) -> dict[str, Any]:
    """Compose facts, texts and utterances, speak them, and write the lists; returns the metrics.

    Raises:
        UserError: the corpus tells one of the facts, or has no such voice.
    """
    facts = made_up_facts(config.seed, config.num_entities)
    counts = (config.spoken_texts, config.interleaved_texts, config.text_texts)
    texts = {
        group: write_group([fact for fact in facts if fact.group == group], count, config.heldout_texts, config.seed)
        for group, count in zip(GROUPS, counts, strict=True)
    }
    sentences = spoken_sentences(facts, config)
    check_nothing_leaks(facts, texts, sentences, Path(config.corpus))
    listed = read_voices(config.corpus)
    voices = [listed.trainable(name, "voices") for name in config.voices or [listed.answer]]
    planned = {split: plan_speech(split, own, voices, run.folder, config.seed) for split, own in sentences.items()}
    prompts = [one.prompt for own in planned.values() for one in own]
    durations = speak(prompts, run, room=RoomConfig(share=0.0), seed=config.seed, workers=config.workers)
    for split, own in planned.items():
        write_manifest(run.folder / f"{split}.jsonl", [one.spoken(durations) for one in own])
    write_text(run.folder / "facts.jsonl", write_facts(facts))
    write_texts(run.folder, texts)
    write_json(run.folder / "voices.json", read_json(Path(config.corpus) / "voices.json"))
    return {
        "facts": len(facts),
        **{f"facts.{group}": sum(fact.group == group for fact in facts) for group in GROUPS},
        **{f"texts.{group}": len(own.train) for group, own in texts.items()},
        **{f"num_utterances.{split}": len(own) for split, own in planned.items()},
        "hours": round(sum(durations.values()) / 3600, 3),
        "leaks": 0,
    }


def spoken_sentences(facts: Sequence[MadeUpFact], config: FactCorpusConfig) -> dict[str, list[Sentence]]:
    """The utterances of training and held-out speech: facts of the group ``spoken``, and random words.

    The held-out ones are the questions that no text and no training utterance asks.
    """
    spoken = [fact for fact in facts if fact.group == SPOKEN]
    told: list[Sentence] = []
    for fact in spoken:
        told += [("statement", one, f"{one}.") for one in fact.statements]
        told += [("question", one, f"{one}?") for one in fact.questions]
        told += [("answered", f"{one} {fact.reply}", f"{one}? {fact.reply}.") for one in fact.questions]
    replies = dict.fromkeys(fact.reply for fact in facts)
    told += [("reply", reply, f"{reply}.") for reply in replies]
    told += [("random", text, f"{text}.") for text in random_words(facts, config)]
    asked: list[Sentence] = [("question", one, f"{one}?") for fact in spoken for one in fact.new_questions]
    return {TRAIN: told, HELD_OUT_SENTENCE: asked}


def random_words(facts: Sequence[MadeUpFact], config: FactCorpusConfig) -> list[str]:
    """Distinct strings of random words: entities, attributes and the world's other words in turn; none tells a fact."""
    rng = random.Random(f"fact words {config.seed}")
    index = FactIndex(facts)
    named = endless(sorted({fact.entity for fact in facts} | {fact.answer for fact in facts}), rng)
    other = endless(World().vocabulary, rng)
    found: dict[str, None] = {}
    while len(found) < config.random_utterances:
        words = list(itertools.islice(named, 2)) + list(itertools.islice(other, rng.randint(*RANDOM_LENGTH) - 2))
        rng.shuffle(words)
        text = " ".join(words)
        if not index.facts_in(text):
            found[text] = None
    return list(found)


def check_nothing_leaks(
    facts: Sequence[MadeUpFact],
    texts: dict[str, GroupTexts],
    sentences: dict[str, list[Sentence]],
    corpus: Path,
) -> None:
    """Hold that speech tells facts of the group ``spoken`` only, each text those of its own group, and the corpus none.

    Raises:
        UserError: the corpus tells one.
    """
    index = FactIndex(facts)
    group_of = {fact.id: fact.group for fact in facts}
    for _, transcript, _ in itertools.chain(*sentences.values()):
        assert {group_of[fact] for fact in index.facts_in(transcript)} <= {SPOKEN}
    for group, own in texts.items():
        for document in (*own.train, *own.held_out):
            assert {group_of[fact] for fact in index.facts_in(document.text)} == {group}
    for place, text in texts_of_corpus(corpus):
        known = index.facts_in(text)
        if known:
            found = f"{text!r}, which tells the made-up fact {min(known)}"
            raise UserError(place, found=found, remedy="leave it out of the corpus, or give another seed")


def texts_of_corpus(corpus: Path) -> Iterator[tuple[str, str]]:
    """File and words of every transcript and text of a corpus."""
    for file in sorted(corpus.glob("*.jsonl")):
        if file.stem.startswith("texts"):
            for _, line in numbered_lines(file.read_bytes().split(b"\n")):
                yield str(file), normalise(parse_json_line(line)["text"])
        elif file.stem in (TRAIN, HELD_OUT_SENTENCE):
            for utterance in read_manifest(file, should_check_audio=False, needs_text=False).utterances:
                yield str(file), normalise(utterance.text)


def plan_speech(
    split: str, sentences: Sequence[Sentence], voices: Sequence[WorldVoice], folder: Path, seed: int
) -> list[PlannedUtterance]:
    """The utterances of a split, the voices in turn."""
    turns = voices_in_turn(voices, len(sentences), f"fact voices {seed} {split}")
    return [
        PlannedUtterance.by_voice(
            voice, folder / "audio", f"fact-{split}-{kind}-{number:05d}", spoken, split=split, kind=kind, text=text
        )
        for number, ((kind, text, spoken), voice) in enumerate(zip(sentences, turns, strict=True))
    ]


def speak(prompts: Sequence[Prompt], run: Run, *, room: RoomConfig, seed: int, workers: int) -> dict[str, float]:
    """Write the audio files, by ``workers`` processes (0: all CPUs); seconds by id."""
    with run.progress(len(prompts), "speech", unit="utterance") as bar:
        return synthesise(
            prompts,
            run.folder / "units",
            room=room,
            seed=seed,
            workers=workers or num_available_cpus(),
            bar=bar,
        )


def write_texts(folder: Path, texts: dict[str, GroupTexts]) -> None:
    """Write texts.jsonl (all groups, mixed), texts_<group>.jsonl, and the same held out."""
    for part in GroupTexts._fields:
        tag = "" if part == "train" else "_heldout"
        documents: list[FactDocument] = [one for own in texts.values() for one in getattr(own, part)]
        random.Random("order of texts").shuffle(documents)
        write_documents(folder / f"texts{tag}.jsonl", documents)
        for group, own in texts.items():
            write_documents(folder / f"texts_{group}{tag}.jsonl", getattr(own, part))


def write_documents(file: Path, documents: Iterable[FactDocument]) -> None:
    """Documents as JSON lines."""
    write_text(file, "".join(json.dumps(asdict(document)) + "\n" for document in documents))
