"""Pairs as dialogues of one turn: the prompt with speech where the transcripts stood, and the text model's answer.

The loss is taken on the answer and the mark that ends it. A pair about several utterances is heard as speech alone, or
as speech and text in turn (2505.18644's interleaved inputs; the paper does not say how it cuts them: our choice).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord
from lm.data.chat_template import has_foreign_template
from lm.data.clip_source import SplitClip, clips_of_split
from lm.data.clips import ClipDocument
from lm.data.corpora import finished_corpus, write_corpus
from lm.data.formats import ChatTurn, Codes, chat_document
from lm.data.vector_clips import VectorSpan, open_clips
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run

from .pairs import ImitationPair, PairsFile, read_pairs
from .prepare_config import TEXT, ImitationPrepareConfig
from .tasks.task_file import PLACE

CORPUS = "imitation"
SCALE = 1 << 64


def write_documents(config: ImitationPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/imitation`` unless it is there; returns its numbers."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    if has_foreign_template(vocabulary):
        found = "a text model with a chat template of its own, where dialogues are written in our format"
        raise UserError(config.vocabulary, found=found, remedy="tune the text model on our chat format first")
    info = finished_corpus(run.folder / CORPUS, vocabulary)
    if info is None:
        source = PairDocuments(config, vocabulary, run)
        train, valid = source.documents(is_valid=False), source.documents(is_valid=True)
        made = {"stage": "imitation.prepare", "sources": [config.pairs], "counts": source.counts}
        info = write_corpus(run.folder / CORPUS, "chat", vocabulary, train, valid, made, clips=source.record)
        if source.speech is not None:
            source.speech.search.tidy()
    split, counts = info.splits["train"], info.provenance["counts"]
    return {
        "documents": split.documents,
        "valid_documents": info.splits["valid"].documents,
        "tokens": split.tokens,
        "speech_tokens": split.speech_tokens,
        "longest": split.longest,
        **{name: counts.get(name, 0) for name in ("held_out_prompts", "missing", "speech", "interleaved", "text")},
    }


class PairDocuments:
    """The documents of a file of pairs.

    Args:
        config: of the stage.
        vocabulary: of the text model.
        run: its folder receives segments of longer recordings.

    Attributes:
        counts: of pairs by the form of their input, and of those left out.
        record: of the clips; None of text.
    """

    def __init__(self, config: ImitationPrepareConfig, vocabulary: Vocabulary, run: Run) -> None:
        self.config, self.vocabulary, self.counts = config, vocabulary, Counter[str]()
        self.pairs: PairsFile = read_pairs(config.pairs)
        self.speech: UtteranceSpeech | None = None
        if config.input != TEXT:
            self.speech = UtteranceSpeech(config, vocabulary, run)
        self.record = None if self.speech is None else self.speech.record

    def documents(self, *, is_valid: bool) -> Iterator[Any]:
        """Rows of ids, or documents with clips, of one split, in the order of the pairs.

        Raises:
            UserError: the speech of too many pairs is missing.
        """
        missing, count, example = 0, 0, ""
        for pair in self.pairs.pairs:
            if self.is_valid(pair) != is_valid:
                continue
            if not pair.is_seen and self.config.prompts == "seen":
                self.counts["held_out_prompts"] += 1
                continue
            count += 1
            document = self.document(pair)
            if document is None:
                missing, example = missing + 1, example or ", ".join(pair.utterances)
            else:
                yield document
        self.counts["missing"] += missing
        if missing > self.config.max_missing_share * count:
            found = f"no speech for {missing} of {count} pairs (the first is about {example})"
            remedy = "give the corpus or features of the pairs' manifest, name its splits=, or raise max_missing_share"
            raise UserError(self.config.corpus or self.config.vectors.features, found=found, remedy=remedy)

    def is_valid(self, pair: ImitationPair) -> bool:
        """Whether the pairs that begin with this utterance are held out."""
        return seed_of(self.config.seed, "valid", pair.utterances[0]) < self.config.valid_share * SCALE

    def document(self, pair: ImitationPair) -> Any:
        """A pair's document; None where speech is missing."""
        system = self.pairs.header.system
        if self.speech is None:
            self.counts["text"] += 1
            asked = pair.with_transcript(pair.content)
            return chat_document([ChatTurn(asked, pair.response)], self.vocabulary, system=system)
        is_spoken = self.forms(pair)
        spans = [self.speech.span(one) if said else None for one, said in zip(pair.utterances, is_spoken, strict=True)]
        if any(span is None for span, said in zip(spans, is_spoken, strict=True) if said):
            return None
        self.counts["speech" if all(is_spoken) else "interleaved"] += 1
        heard = [span for span in spans if span is not None]
        turn = ChatTurn(mixed_content(pair, [None if one is None else one.codes for one in spans]), pair.response)
        ids = chat_document([turn], self.vocabulary, system=system)
        return ClipDocument(ids, [span.clip for span in heard])

    def forms(self, pair: ImitationPair) -> list[bool]:
        """For each of a pair's utterances, whether it is speech."""
        draw = random.Random(seed_of(self.config.seed, "forms", *pair.utterances, pair.task, pair.prompt))
        if len(pair.utterances) == 1 or draw.random() >= self.config.interleaved_share:
            return [True] * len(pair.utterances)
        return in_turn(len(pair.utterances), draw.randrange(2))


def in_turn(count: int, first: int) -> list[bool]:
    """For each of ``count`` utterances whether it is speech: every second one, from number ``first`` (0 or 1) on."""
    return [number % 2 == first for number in range(count)]


def mixed_content(pair: ImitationPair, speech: list[Codes | None]) -> tuple[str | Codes, ...]:
    """The prompt about a pair's utterances, with the placeholders of those that are heard.

    Args:
        pair: its prompt and transcripts.
        speech: the placeholders of each utterance; None where its transcript is read.
    """
    before, _, after = pair.text.partition(PLACE)
    parts: list[str | Codes] = [before]
    for number, (transcript, codes) in enumerate(zip(pair.transcripts, speech, strict=True)):
        parts += [" "] if number else []
        parts.append(transcript if codes is None else codes)
    joined: list[str | Codes] = []
    for part in [*parts, after]:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


class UtteranceSpeech:
    """Speech of utterances by their ids: stored vectors, or recordings that an encoder hears in training.

    Attributes:
        record: of the corpus's clips.
    """

    def __init__(self, config: ImitationPrepareConfig, vocabulary: Vocabulary, run: Run) -> None:
        clips = open_clips(config.vectors, vocabulary)
        self.record = clips.record
        self.known: dict[str, SplitClip] = {}
        self.search = ClipJob(run.folder / "clips", config, run, max_seconds=config.vectors.max_seconds)
        for split in config.splits:
            for clip in clips_of_split(clips, config.corpus, split, self.search, max_bad_share=config.max_bad_share):
                if not isinstance(clip, BadRecord):
                    self.known[clip.id] = clip

    def span(self, utterance: str) -> VectorSpan | None:
        """The speech of an utterance; None where there is none, or too little for a vector."""
        found = self.known.get(utterance)
        try:
            return None if found is None else found.span()
        except UserError:
            return None
