"""StoryCloze in the built-in world: a little story, its right ending, and a wrong one of the same form.

::

    story   tom had a red ball. tom put the red ball in the box. | now the ball is in the box.
    place   now the ball is in the car.
    topic   now the cup is in the car.

As in StoryCloze and Topic-StoryCloze (TWIST): the wrong ending contradicts the story, or is that of another story. No
story stands in the training data, though every word of it does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from corpus.audio.files import Samples, write_audio
from corpus.manifest import read_manifest
from corpus.text.normalisation import join_sentences
from corpus.world.facts import OBJECTS, PLACES
from corpus.world.plan import MAX_STORY_SENTENCES
from corpus.world.situations import story
from corpus.world.synthesis import Prompt, render
from corpus.world.voices import HELD_OUT, WorldVoice, read_voices
from lm.data.text_files import read_texts
from runtime.artefact import atomic_folder, write_text
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer

from .cloze_config import ClozeSetConfig

SUBSETS = ("place", "topic")
PAIRS = "pairs.jsonl"


class StoryPair(NamedTuple):
    """A story without its end, and two endings."""

    id: str
    subset: str
    context: str
    correct: str
    incorrect: str


def make_cloze_set(config: ClozeSetConfig, run: Run) -> dict[str, Any]:
    """Compose the pairs, speak and encode them, and write ``<out>/set``; returns their numbers."""
    torch.set_num_threads(config.threads)
    corpus = Path(config.corpus)
    voices = [voice for voice in read_voices(corpus).voices if voice.role != HELD_OUT]
    pairs = story_pairs(config.pairs, known_stories(corpus), config.seed)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)
    with atomic_folder(run.folder / "set") as folder, run.progress(len(pairs), "stories", unit="story") as bar:
        records = []
        for number, pair in enumerate(pairs):
            sounds = speak(pair, voices[number % len(voices)], folder, config.seed)
            records.append(record_of(pair, sounds, tokenizer, folder if config.audio else None))
            bar.update()
        write_text(folder / PAIRS, "".join(json.dumps(record) + "\n" for record in records))
    tokens = sum(len(record[part]["tokens"]) for record in records for part in ("context", "correct", "incorrect"))
    return {"pairs": len(records), "voices": len(voices), "tokens": tokens}


def known_stories(corpus: Path) -> set[str]:
    """The stories of the training data, as plain words."""
    texts = {document.text for document in read_texts(corpus / "texts.jsonl").documents}
    spoken = {utterance.text for utterance in read_manifest(corpus / "train.jsonl").utterances}
    return {plain(text) for text in texts | spoken}


def plain(text: str) -> str:
    """A text of the world without its full stops."""
    return text.replace(".", "")


def story_pairs(count: int, known: set[str], seed: int) -> list[StoryPair]:
    """Pairs of new stories, the parts in turn; none comes twice."""
    rng = random.Random(f"cloze {seed}")
    stories = new_stories(rng, known)
    return [story_pair(number, next(stories), rng) for number in range(count)]


def new_stories(rng: random.Random, known: set[str]) -> Iterator[list[str]]:
    """Endless stories as long as spoken ones that are not among ``known`` nor came before."""
    seen = set(known)
    while True:
        sentences = story(rng)
        words = " ".join(sentences)
        if len(sentences) <= MAX_STORY_SENTENCES and words not in seen:
            seen.add(words)
            yield sentences


def story_pair(number: int, sentences: Sequence[str], rng: random.Random) -> StoryPair:
    """A story ("... now the ball is in the box") as a pair of its part."""
    *context, ending = sentences
    words = ending.split()  # now the THING is in the PLACE
    subset = SUBSETS[number % len(SUBSETS)]
    thing = words[2] if subset == "place" else rng.choice([one for one in OBJECTS if one != words[2]])
    place = rng.choice([one for one in PLACES if one != words[-1]])
    wrong = " ".join([*words[:2], thing, *words[3:-1], place])
    return StoryPair(
        f"{subset}-{number:04d}", subset, join_sentences(context), join_sentences([ending]), join_sentences([wrong])
    )


def speak(pair: StoryPair, voice: WorldVoice, folder: Path, seed: int) -> dict[str, Samples]:
    """The sounds (S,) of context and endings in one voice, at one pace and pitch."""
    return {
        name: render(Prompt(pair.id, text, voice, folder / f"{pair.id}-{name}.flac"), seed)
        for name, text in (("context", pair.context), ("correct", pair.correct), ("incorrect", pair.incorrect))
    }


def record_of(
    pair: StoryPair, sounds: dict[str, Samples], tokenizer: SpeechTokenizer, folder: Path | None
) -> dict[str, Any]:
    """A line of the set (`evaluation.likelihood.choice_rows`); sounds are written where there is a folder."""
    codes = tokenizer.encode(list(sounds.values()))
    parts: dict[str, dict[str, Any]] = {}
    for (name, sound), tokens in zip(sounds.items(), codes, strict=True):
        parts[name] = {"id": f"{pair.id}-{name}", "text": getattr(pair, name), "tokens": tokens.tolist()}
        if folder is not None:
            parts[name]["audio"] = f"audio/{pair.id}-{name}.flac"
            write_audio(folder / parts[name]["audio"], sound, is_durable=False)
    return {"id": pair.id, "subset": pair.subset, "tokenizer": tokenizer.fingerprint, **parts}
