"""LM corpora from tokenised speech, from clips of speech, and from texts: the formats text, speech, asr and tts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord, check_bad_share, list_bad_records
from corpus.text.spoken_form import in_words
from corpus.tokens import TokenisedUtterance, read_tokens
from runtime.errors import UserError
from runtime.stage import Run

from .clip_source import SourceOptions, TranscribedClips
from .clips import ClipDocument, ClipRecord
from .corpora import CorpusInfo, finished_corpus, write_corpus
from .formats import asr_document, speech_document, text_document, tts_document
from .preparation_config import LmPrepareConfig
from .readers import iterate_texts, split_path
from .vector_config import VECTORS
from .vocabulary import Ids, Vocabulary


class DocumentSource(Protocol):
    """The documents of one format; records that are left out are noted as the documents are drawn.

    Attributes:
        left_out: reason -> number of records.
        bad: the records.
    """

    left_out: Counter[str]
    bad: list[BadRecord]

    @property
    def paths(self) -> list[str]:
        """The files or folders that are read."""
        ...

    @property
    def clips(self) -> ClipRecord | None:
        """Of documents with clips; None where there are none."""
        ...

    def documents(self, split: str) -> Iterator[Ids] | Iterator[ClipDocument]:
        """Documents of ``train`` or ``valid``; raises a `UserError` at the end if too many had to be left out."""
        ...


def prepare_corpora(config: LmPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/<format>`` for each format that is not finished; returns documents and tokens of each.

    Records that were left out are listed in ``<out>/bad_records.jsonl``.
    """
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    search = ClipJob(run.folder / "clips", config, run, max_seconds=config.vectors.max_seconds)
    metrics: dict[str, Any] = {}
    bad: list[BadRecord] = []
    with run.progress(len(config.formats), "corpora", unit="corpus") as bar:
        for format in config.formats:
            info = finished_corpus(run.folder / format, vocabulary)
            if info is None:
                source = open_source(config, format, vocabulary, search)
                train, valid = source.documents("train"), source.documents("valid")
                provenance = {"stage": "lm.prepare", "sources": source.paths, "left_out": source.left_out}
                folder = run.folder / format
                try:
                    info = write_corpus(folder, format, vocabulary, train, valid, provenance, clips=source.clips)
                finally:  # where they are too many, above all
                    bad += source.bad
                    list_bad_records(run.folder, bad)
            metrics |= corpus_metrics(info)
            bar.update()
    search.tidy()
    return metrics


def open_source(config: LmPrepareConfig, format: str, vocabulary: Vocabulary, search: ClipJob) -> DocumentSource:
    """The documents of a format: of texts, of speech tokens, or of clips, which ``search`` finds."""
    if format == "text":
        texts = {"train": config.texts, "valid": config.texts_heldout}
        return TextSource(texts, vocabulary, config.max_bad_share)
    splits = {"train": config.train_split, "valid": config.valid_split}
    is_spoken = {"tts": config.spoken_tts, "asr": config.spoken_asr}.get(format, False)
    options = SourceOptions(config.kinds.get(format, ()), is_spoken, config.max_bad_share)
    if config.speech == VECTORS:
        return TranscribedClips(config.vectors, config.corpus, splits, vocabulary, search, options)
    return SpeechSource(format, config.tokens, splits, vocabulary, options)


def corpus_metrics(info: CorpusInfo) -> dict[str, Any]:
    """Documents and tokens of a corpus, by flat names."""
    train, valid = info.splits["train"], info.splits["valid"]
    return {
        f"{info.format}_documents": train.documents,
        f"{info.format}_tokens": train.tokens,
        f"{info.format}_speech_tokens": train.speech_tokens,
        f"{info.format}_valid_documents": valid.documents,
        f"{info.format}_left_out": sum(info.provenance["left_out"].values()),
    }


class TextSource:
    """Documents of texts; see `DocumentSource`."""

    clips = None

    def __init__(self, texts: Mapping[str, str], vocabulary: Vocabulary, max_bad_share: float) -> None:
        self.texts, self.vocabulary, self.max_bad_share = texts, vocabulary, max_bad_share
        self.left_out: Counter[str] = Counter()
        self.bad: list[BadRecord] = []

    @property
    def paths(self) -> list[str]:
        """Training and held-out texts."""
        return [self.texts["train"], self.texts["valid"]]

    def documents(self, split: str) -> Iterator[Ids]:
        """A document for each text."""
        path, bad, count = self.texts[split], list[BadRecord](), 0
        for text in iterate_texts(path) if path else ():
            count += 1
            if isinstance(text, BadRecord):
                bad.append(text)
                self.left_out["bad line"] += 1
            else:
                yield text_document(text.text, self.vocabulary)
        self.bad += bad
        check_bad_share(bad, count, self.max_bad_share)


class SpeechSource:
    """Documents of one format of tokenised utterances; see `DocumentSource`."""

    clips = None

    def __init__(
        self,
        format: str,
        tokens: str,
        splits: Mapping[str, str],
        vocabulary: Vocabulary,
        options: SourceOptions,
    ) -> None:
        self.format, self.tokens, self.splits, self.vocabulary = format, tokens, splits, vocabulary
        self.kinds, self.is_spoken, self.max_bad_share = options
        self.left_out: Counter[str] = Counter()
        self.bad: list[BadRecord] = []

    @property
    def paths(self) -> list[str]:
        """The encode folder."""
        return [self.tokens]

    def documents(self, split: str) -> Iterator[Ids]:
        """A document for each utterance that can be used, part after part."""
        path = split_path(self.tokens, self.splits[split])
        count, left_out = 0, Counter[str]()
        for item in self._utterances(path):
            count += 1
            reason = self._reason_to_leave_out(item)
            if reason:
                left_out[reason] += 1
                self.bad.append(BadRecord(f"{path}, {item.id}", reason))
            else:
                yield self._document(item)
        self.left_out += left_out
        num_left_out = sum(left_out.values())
        if num_left_out > self.max_bad_share * max(count, 1):
            reason = left_out.most_common(1)[0][0]
            found = f"{num_left_out} of {count} utterances cannot be used for {self.format}, most for: {reason}"
            remedy = f"repair them, or raise max_bad_share={self.max_bad_share}"
            raise UserError(str(path), found=found, remedy=remedy)

    def _utterances(self, path: Path) -> Iterator[TokenisedUtterance]:
        """The utterances of the wanted kinds."""
        for part in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
            speech = read_tokens(part)
            self.vocabulary.check_speech_tokenizer(speech.tokenizer, str(part))
            yield from (item for item in speech.items if not self.kinds or item.kind in self.kinds)

    def _reason_to_leave_out(self, item: TokenisedUtterance) -> str:
        if not len(item.tokens):
            return "no tokens"
        if self.format != "speech" and not item.text.strip():
            return "no transcript"
        if self.format == "tts" and item.speaker not in self.vocabulary.speakers:
            return "a speaker without a tag in the vocabulary"
        return ""

    def _document(self, item: TokenisedUtterance) -> Ids:
        if self.format == "speech":
            return speech_document(item.tokens, self.vocabulary)
        text = in_words(item.text) if self.is_spoken else item.text
        if self.format == "asr":
            return asr_document(item.tokens, text, self.vocabulary)
        return tts_document(text, item.tokens, item.speaker, self.vocabulary)
