"""Pairs as dialogues of one turn: the prompt with speech where the transcripts stood, and the text model's answer.

The loss is taken on the answer and the mark that ends it. Pairs are heard as speech alone, or as speech and text in
turn (2505.18644's interleaved inputs): utterance by utterance, or at spans of words where these have times. What is
known of the paper does not say how it cuts them: both are our choice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord
from lm.data.clip_source import SplitClip, clips_of_split
from lm.data.clips import ClipDocument, FeatureClip
from lm.data.corpora import finished_corpus, write_corpus
from lm.data.formats import Codes, Said
from lm.data.request_format import AnsweredDocument, request_format
from lm.data.vector_clips import VectorSpan, open_clips, vector_span
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run
from text2token.alignment.word_times import aligned_pieces, locate_words, read_times
from text2token.spans.policies import choose_spans

from .pairs import ImitationPair, PairsFile, read_pairs
from .prepare_config import TEXT, ImitationPrepareConfig
from .tasks.task_file import PLACE

CORPUS = "imitation"
SCALE = 1 << 64


def write_documents(config: ImitationPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/imitation`` unless it is there; returns its numbers."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    info = finished_corpus(run.folder / CORPUS, vocabulary)
    if info is None:
        source = PairDocuments(config, vocabulary, run)
        train, valid = source.documents(is_valid=False), source.documents(is_valid=True)
        made = {"stage": "imitation.prepare", "sources": [config.pairs], "counts": source.counts}
        record = source.record
        options: Any = {"clips": record, "has_transcripts": record is not None}
        options["has_targets"] = source.format.has_targets
        info = write_corpus(run.folder / CORPUS, "chat", vocabulary, train, valid, made, **options)
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
        self.format = request_format(vocabulary)
        self.times = read_times(config.words) if config.words else None
        self.check_prompt()
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

    def check_prompt(self) -> None:
        """Raise a `UserError` unless the text model read the first pair as it is written here."""
        read, (first, *_) = self.pairs.header.first_prompt, self.pairs.pairs
        written = self.format.prompt(first.with_transcript(first.content), system=self.pairs.header.system)
        if read and written.tolist() != read:
            found = "another chat template or tokenizer than that of the pairs' text model"
            remedy = "grow the vocabulary from that model: lm.vocabulary base=FOLDER"
            raise UserError(self.config.vocabulary, found=found, remedy=remedy)

    def answered(self, pair: ImitationPair, content: Said) -> AnsweredDocument:
        """A pair's document with this content."""
        system = self.pairs.header.system
        return self.format.document(content, pair.response, system=system, answer_ids=pair.response_ids)

    def document(self, pair: ImitationPair) -> Any:
        """A pair's document; None where speech is missing."""
        read = self.answered(pair, pair.with_transcript(pair.content))
        if self.speech is None:
            self.counts["text"] += 1
            return ClipDocument(read.ids, (), targets=read.targets)
        parts = self.parts(pair, self.speech)
        if parts is None:
            return None
        is_speech = all(isinstance(piece, VectorSpan) for part in parts for piece in part)
        self.counts["speech" if is_speech else "interleaved"] += 1
        content = [[piece if isinstance(piece, str) else piece.codes for piece in part] for part in parts]
        said = self.answered(pair, mixed_content(pair, content))
        clips = [piece.clip for part in parts for piece in part if isinstance(piece, VectorSpan)]
        return ClipDocument(said.ids, clips, read.ids, said.targets)

    def parts(self, pair: ImitationPair, speech: UtteranceSpeech) -> list[list[str | VectorSpan]] | None:
        """Texts and speech of each of a pair's utterances; None where speech or the times of words are missing."""
        draw = random.Random(seed_of(self.config.seed, "forms", *pair.utterances, pair.task, pair.prompt))
        spans = [speech.span(one) for one in pair.utterances]
        is_mixed = len(spans) > 1 or self.times is not None
        is_mixed = is_mixed and draw.random() < self.config.interleaved_share
        if is_mixed and self.times is not None:
            seed = draw.getrandbits(32)
            cut = [
                None if span is None else self.cut(one, text, span, seed)
                for one, text, span in zip(pair.utterances, pair.transcripts, spans, strict=True)
            ]
            return [one for one in cut if one is not None] if None not in cut else None
        is_spoken = in_turn(len(spans), draw.randrange(2)) if is_mixed else [True] * len(spans)
        parts: list[list[str | VectorSpan]] = []
        for span, transcript, said in zip(spans, pair.transcripts, is_spoken, strict=True):
            if said and span is None:
                return None
            parts.append([span] if said and span is not None else [transcript])
        return parts

    def cut(self, utterance: str, transcript: str, speech: VectorSpan, seed: int) -> list[str | VectorSpan] | None:
        """Texts and speech of an utterance in turn, at spans of its words; None where these have no times."""
        assert self.times is not None and self.record is not None and isinstance(speech.clip, FeatureClip)
        times, clip = self.times.get(utterance), speech.clip
        try:
            words = locate_words(transcript, times or [])
        except ValueError:
            return None
        if times is None:
            return None
        spans = choose_spans(transcript, self.config.spans, np.random.default_rng([seed, seed_of(utterance)]))
        frames, rate = np.arange(clip.frames), self.record.positions_per_second
        cut: list[str | VectorSpan] = []
        for piece in aligned_pieces(transcript, frames, words, spans, rate):
            if isinstance(piece, str):
                cut += [piece] if piece else []
            else:
                part = clip._replace(first=clip.first + int(piece[0]), frames=len(piece))
                cut.append(vector_span(part, self.record))
        return cut


def in_turn(count: int, first: int) -> list[bool]:
    """For each of ``count`` utterances whether it is speech: every second one, from number ``first`` (0 or 1) on."""
    return [number % 2 == first for number in range(count)]


def mixed_content(pair: ImitationPair, utterances: Sequence[Said]) -> tuple[str | Codes, ...]:
    """The prompt about a pair's utterances.

    Args:
        pair: its prompt.
        utterances: each one's transcript, the placeholders of its speech, or several of both.
    """
    before, _, after = pair.text.partition(PLACE)
    parts: list[str | Codes] = [before]
    for number, said in enumerate(utterances):
        parts += [" "] if number else []
        parts += [said] if isinstance(said, str | np.ndarray) else said
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
