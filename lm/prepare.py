"""Tokenised speech and texts -> LM corpora of the formats text, speech, asr and tts, each with a held-out split.

    python -m lm.prepare vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl \
        texts_heldout=runs/corpus/texts_heldout.jsonl out=runs/corpora

Each format becomes a folder ``<out>/<format>``; a call that was interrupted goes on with the formats not yet finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.config import option
from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig

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
        spoken_tts: write the transcripts of tts out (numbers, amounts and abbreviations in words), as the texts that a
            text-to-token model gets are.
        spoken_asr: write those of asr out, too; else the model learns to write what it hears as the transcripts do.
        max_bad_share: share of bad lines in texts, or of utterances that cannot be used, that is tolerated.
    """

    vocabulary: str
    tokens: str = ""
    texts: str = ""
    texts_heldout: str = ""
    formats: list[str] = option(list(PREPARED), one_of=PREPARED)
    train_split: str = "train"
    valid_split: str = "heldout_sentence"
    kinds: dict[str, list[str]] = field(default_factory=dict)
    spoken_tts: bool = option(True, is_later=True)
    spoken_asr: bool = option(False, is_later=True)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.kinds:
            check_option(name in PREPARED, "kinds", name, f"give some of {', '.join(PREPARED)}")
        check_option(bool(self.formats), "formats", self.formats, f"give some of {', '.join(PREPARED)}")
        needs_speech = set(self.formats) != {"text"}
        check_option(bool(self.texts) or "text" not in self.formats, "texts", self.texts, "the format text needs it")
        check_option(bool(self.tokens) or not needs_speech, "tokens", self.tokens, "give what tokenizer.encode wrote")


def run(config: LmPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/<format>`` for each format; returns documents and tokens of each."""
    from .data.preparation import prepare_corpora

    return prepare_corpora(
        run,
        vocabulary=config.vocabulary,
        formats=config.formats,
        texts={"train": config.texts, "valid": config.texts_heldout},
        tokens=config.tokens,
        token_splits={"train": config.train_split, "valid": config.valid_split},
        kinds=config.kinds,
        spoken={format for format, is_spoken in (("tts", config.spoken_tts), ("asr", config.spoken_asr)) if is_spoken},
        max_bad_share=config.max_bad_share,
    )


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
