"""Tokenised speech and texts -> LM corpora of the formats text, speech, asr and tts, each with a held-out split.

    python -m lm.prepare vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl \
        texts_heldout=runs/corpus/texts_heldout.jsonl out=runs/corpora

Each format becomes a folder ``<out>/<format>``; a call that was interrupted goes on with the formats not yet finished.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from corpus.tokens import TokenisedUtterance

    from .data.corpora import CorpusInfo
    from .data.vocabulary import Vocabulary

PREPARED = ("text", "speech", "asr", "tts")


@dataclass(kw_only=True)
class LmPrepareConfig(StageConfig):
    """Options of lm.prepare.

    Attributes:
        vocabulary: folder of the vocabulary.
        tokens: output folder of tokenizer.encode (needed for speech, asr and tts).
        texts: JSON lines {"id", "text"} for training, or a folder of such files (needed for text).
        texts_heldout: the same, held out ("" = no held-out split for text).
        formats: which corpora to make, of text, speech, asr, tts.
        train_split: name of the split of tokens to train on.
        valid_split: name of the held-out split of tokens; its speakers should be among the training ones.
        kinds: for a format, the kinds of utterances it is made of, e.g. kinds.speech=[statement,story] (default: all).
        max_bad_share: share of bad lines in texts, or of utterances that cannot be used, that is tolerated.
    """

    vocabulary: str
    tokens: str = ""
    texts: str = ""
    texts_heldout: str = ""
    formats: list[str] = field(default_factory=lambda: list(PREPARED))
    train_split: str = "train"
    valid_split: str = "heldout_sentence"
    kinds: dict[str, list[str]] = field(default_factory=dict)
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        for name in (*self.formats, *self.kinds):
            check_option(name in PREPARED, "formats", name, f"give some of {', '.join(PREPARED)}")
        check_option(bool(self.formats), "formats", self.formats, f"give some of {', '.join(PREPARED)}")
        needs_speech = set(self.formats) != {"text"}
        check_option(bool(self.texts) or "text" not in self.formats, "texts", self.texts, "the format text needs it")
        check_option(bool(self.tokens) or not needs_speech, "tokens", self.tokens, "give what tokenizer.encode wrote")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give a share in [0, 1]")


def run(config: LmPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/<format>`` for each format; returns documents and tokens of each."""
    from .data.corpora import finished_corpus, write_corpus
    from .data.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    metrics: dict[str, Any] = {}
    with run.progress(len(config.formats), "corpora", unit="corpus") as bar:
        for format in config.formats:
            info = finished_corpus(run.folder / format, vocabulary)
            if info is None:
                source = _Source(config, format, vocabulary)
                train, valid = source.documents("train"), source.documents("valid")
                info = write_corpus(run.folder / format, format, vocabulary, train, valid, source.provenance)
            metrics |= _counts(info)
            bar.update()
    return metrics


def _counts(info: CorpusInfo) -> dict[str, Any]:
    train, valid = info.splits["train"], info.splits["valid"]
    return {
        f"{info.format}_documents": train.documents,
        f"{info.format}_tokens": train.tokens,
        f"{info.format}_speech_tokens": train.speech_tokens,
        f"{info.format}_valid_documents": valid.documents,
        f"{info.format}_left_out": sum(info.provenance["left_out"].values()),
    }


class _Source:
    """The documents of one format, and what was left out of them and why (filled in as they are drawn)."""

    def __init__(self, config: LmPrepareConfig, format: str, vocabulary: Vocabulary) -> None:
        self.config, self.format, self.vocabulary = config, format, vocabulary
        self.left_out: Counter[str] = Counter()
        sources = [config.texts, config.texts_heldout] if format == "text" else [config.tokens]
        self.provenance = {"stage": "lm.prepare", "sources": sources, "left_out": self.left_out}

    def documents(self, split: str) -> Iterator[npt.NDArray[np.int32]]:
        """Documents of a split; raises a `UserError` at the end if too many had to be left out."""
        return self._texts(split) if self.format == "text" else self._speech(split)

    def _texts(self, split: str) -> Iterator[npt.NDArray[np.int32]]:
        from corpus.manifest import BadRecord, check_bad_share

        from .data.formats import text_document
        from .data.readers import iterate_texts

        path = self.config.texts if split == "train" else self.config.texts_heldout
        bad, count = [], 0
        for text in iterate_texts(path) if path else []:
            count += 1
            if isinstance(text, BadRecord):
                bad.append(text)
                self.left_out["bad line"] += 1
            else:
                yield text_document(text.text, self.vocabulary)
        check_bad_share(bad, count, self.config.max_bad_share)

    def _speech(self, split: str) -> Iterator[npt.NDArray[np.int32]]:
        from corpus.tokens import read_tokens

        from .data.readers import split_path

        name = self.config.train_split if split == "train" else self.config.valid_split
        path = split_path(self.config.tokens, name)
        count, left_out = 0, Counter[str]()
        for shard in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
            speech = read_tokens(shard)
            self.vocabulary.check_speech_tokenizer(speech.tokenizer, str(shard))
            for item in speech.items:
                if self.config.kinds.get(self.format) and item.kind not in self.config.kinds[self.format]:
                    continue
                count += 1
                reason = self._reason_to_leave_out(item)
                if reason:
                    left_out[reason] += 1
                else:
                    yield self._document(item)
        self.left_out += left_out
        num_left_out = sum(left_out.values())
        if num_left_out > self.config.max_bad_share * max(count, 1):
            reason = left_out.most_common(1)[0][0]
            found = f"{num_left_out} of {count} utterances cannot be used for {self.format}, most for: {reason}"
            remedy = f"mend them, or raise max_bad_share={self.config.max_bad_share}"
            raise UserError(str(path), found=found, remedy=remedy)

    def _reason_to_leave_out(self, item: TokenisedUtterance) -> str:
        if not len(item.tokens):
            return "no tokens"
        if self.format != "speech" and not item.text.strip():
            return "no transcript"
        if self.format == "tts" and item.speaker not in self.vocabulary.speakers:
            return "a speaker without a tag in the vocabulary"
        return ""

    def _document(self, item: TokenisedUtterance) -> npt.NDArray[np.int32]:
        from .data import formats

        if self.format == "speech":
            return formats.speech_document(item.tokens, self.vocabulary)
        if self.format == "asr":
            return formats.asr_document(item.tokens, item.text, self.vocabulary)
        return formats.tts_document(item.text, item.tokens, item.speaker, self.vocabulary)


STAGE = Stage(
    name="lm.prepare",
    config=LmPrepareConfig,
    run=run,
    summary="Turn tokenised speech and texts into LM corpora: text, speech, asr, tts.",
    inputs=lambda config: [config.vocabulary, config.tokens, config.texts, config.texts_heldout],
    example="vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/corpora",
)

if __name__ == "__main__":
    STAGE.exit()
