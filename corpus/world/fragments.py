"""Fragments of speech: stretches of training texts that begin and end at any word, and strings of random words.

A text-to-token model is asked for spans of texts (2411.17607, section 2.2), which begin and end anywhere; trained on
whole utterances alone, it cannot speak them. A fragment has the words of a text from one to another, its prompt the
full stops between them, where the synthesiser pauses. No fragment holds a whole held-out sentence.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from corpus.text.normalisation import normalise, split_sentences
from runtime.hashing import seed_of

from .build_config import BuildConfig
from .closed_world import World
from .documents import Documents
from .held_out import HeldOutTexts
from .plan import TRAIN, PlannedUtterance, endless
from .sentence_index import SentenceIndex

FRAGMENT = "fragment"
LONGEST_RANDOM = 8  # words
CUT_SHARE = 0.5  # of the lengths: as the last span of a text is cut to what is left of the ratio


class FragmentCutter:
    """Cuts fragments out of texts.

    Args:
        texts: sentences of plain words and full stops.
        vocabulary: of the random strings.
        kept_out: sentences that no fragment may hold whole.
        mean_words: of the Poisson distribution of lengths, half of which are cut to any shorter one.
        random_share: of strings of 1 to `LONGEST_RANDOM` random words among the fragments.
        seed: of the choices.
    """

    def __init__(
        self,
        texts: Sequence[str],
        vocabulary: Sequence[str],
        kept_out: Collection[str],
        *,
        mean_words: float,
        random_share: float,
        seed: int,
    ) -> None:
        self.texts, self.vocabulary = texts, vocabulary
        self.kept_out = SentenceIndex(kept_out)
        self.mean_words, self.random_share, self.seed = mean_words, random_share, seed

    def fragments(self) -> Iterator[str]:
        """Prompts without end, the texts in random order; few are alike."""
        rng = np.random.default_rng(seed_of("fragments", self.seed))
        texts = endless(list(self.texts), random.Random(f"fragments {self.seed}"))
        while True:
            if rng.random() < self.random_share or not self.texts:
                count = int(rng.integers(1, LONGEST_RANDOM + 1))
                words = [self.vocabulary[at] for at in rng.integers(len(self.vocabulary), size=count)]
            else:
                words = self._cut(next(texts).split(), rng)
            prompt = " ".join(words).rstrip(".")
            if not self.holds_kept_out(normalise(prompt)):
                yield prompt

    def holds_kept_out(self, text: str) -> bool:
        """Whether a sentence that is kept out is a part of a normalised text."""
        return any(True for _ in self.kept_out.found_in(text.split()))

    def _cut(self, words: list[str], rng: np.random.Generator) -> list[str]:
        """A stretch of a text's words, every place alike."""
        length = min(max(1, int(rng.poisson(self.mean_words))), len(words))
        if rng.random() < CUT_SHARE:
            length = int(rng.integers(1, length + 1))
        first = int(rng.integers(len(words) - length + 1))
        return words[first : first + length]


def plan_fragments(
    config: BuildConfig,
    world: World,
    held_out: HeldOutTexts,
    documents: Documents,
    planned: Sequence[PlannedUtterance],
    folder: Path,
) -> list[PlannedUtterance]:
    """Training utterances of kind ``fragment``, as many as the config asks for.

    Args:
        config: of the build.
        world: the words of random strings, and sentences that may be held out.
        held_out: the texts that training data must not contain.
        documents: cut are the training texts.
        planned: all other utterances; the voices have fragments in proportion to their training utterances.
        folder: of the audio, with one folder a voice.
    """
    voices = [utterance.prompt.voice for utterance in planned if utterance.split == TRAIN]
    cutter = FragmentCutter(
        [document.text for document in documents.train],
        world.vocabulary,
        held_out_sentences(world, held_out, documents, planned),
        mean_words=config.fragment_words,
        random_share=config.fragment_random_share,
        seed=config.seed,
    )
    rng = random.Random(f"voices {config.seed} {FRAGMENT}")
    fragments = []
    for number, prompt in enumerate(itertools.islice(cutter.fragments(), config.fragments)):
        voice, id = rng.choice(voices), f"{TRAIN}-{FRAGMENT}-{number:05d}"
        text = normalise(prompt)
        fragments.append(PlannedUtterance.by_voice(voice, folder, id, prompt, split=TRAIN, kind=FRAGMENT, text=text))
    return fragments


def held_out_sentences(
    world: World, held_out: HeldOutTexts, documents: Documents, planned: Iterable[PlannedUtterance]
) -> set[str]:
    """Every sentence that is held out: of the world, of held-out texts and of held-out utterances.

    A question about an earlier turn is spoken in training whatever its hash.
    """
    prompts = [utterance.prompt.text for utterance in planned if utterance.split != TRAIN]
    written = [document.text for document in documents.held_out]
    pieces = (normalise(piece) for text in (*prompts, *written) for piece in (text, *split_sentences(text)))
    found = {text for text in (*world.sentences, *pieces) if text in held_out} | held_out.always
    return found - {utterance.text for utterance in planned if utterance.split == TRAIN}
