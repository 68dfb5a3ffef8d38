"""Tokenised speech and texts -> LM corpora of the formats text, speech, asr and tts, each with a held-out split.

    python -m lm.prepare vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl \
        texts_heldout=runs/corpus/texts_heldout.jsonl out=runs/corpora
    python -m lm.prepare speech=vectors vocabulary=runs/vocabulary_of_vectors/vocabulary corpus=runs/corpus \
        vectors.encoder=runs/tokenizer/artefact 'formats=[asr]' out=runs/corpora_of_vectors

With ``speech=vectors`` documents name the clips that an encoder hears in training (or its stored vectors).
Each format becomes a folder ``<out>/<format>``; a call that was interrupted goes on with the formats not yet finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig

from .data.vector_config import SPEECH_INPUTS, TOKENS, VECTORS, VectorsConfig

PREPARED = ("text", "speech", "asr", "tts")


@dataclass(kw_only=True)
class LmPrepareConfig(StageConfig):
    """Options of lm.prepare.

    Attributes:
        vocabulary: folder of the vocabulary.
        tokens: output folder of tokenizer.encode (needed for speech, asr and tts).
        speech: tokens, or vectors of an encoder: then text and asr can be made, of the vocabulary's one speech token.
        corpus: folder of a speech corpus, for vectors of audio: NeMo manifests, or folders of lhotse's Shar or NeMo's
            tars.
        vectors: the encoder, or its stored features (speech=vectors).
        texts: JSON lines {"id", "text"} for training, or a folder of such files (needed for text).
        texts_heldout: the same, held out ("" = no held-out split for text).
        formats: which corpora to make, of text, speech, asr, tts.
        train_split: name of the split of tokens (or of the speech corpus) to train on.
        valid_split: name of the held-out split; its speakers should be among the training ones.
        kinds: for a format, the kinds of utterances it is made of, e.g. kinds.speech=[statement,story] (default: all).
        spoken_tts: write the transcripts of tts out (numbers, amounts and abbreviations in words), as the texts that a
            text-to-token model gets are.
        spoken_asr: write those of asr out, too; else the model learns to write what it hears as the transcripts do.
        max_bad_share: share of bad lines in texts, or of utterances that cannot be used, that is tolerated.
    """

    vocabulary: str
    tokens: str = ""
    speech: str = option(TOKENS, one_of=SPEECH_INPUTS, is_later=True)
    corpus: str = option("", is_later=True)
    vectors: VectorsConfig = field(default_factory=VectorsConfig, metadata={LATER: True})
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
        if self.speech == TOKENS:
            needed = "give what tokenizer.encode wrote"
            check_option(bool(self.tokens) or not needs_speech, "tokens", self.tokens, needed)
            check_option(not self.corpus, "corpus", self.corpus, "give speech=vectors, too")
            check_option(not self.vectors.is_given, "vectors", self.vectors, "give speech=vectors, too")
        else:
            is_known = set(self.formats) <= {"text", "asr"}
            check_option(
                is_known, "formats", self.formats, "vectors can only be read: give formats=[asr] or [text,asr]"
            )
            check_option(not self.tokens, "tokens", self.tokens, "give vectors.encoder or vectors.features instead")
            check_option(
                self.vectors.is_given or not needs_speech, "vectors.encoder", "", "give it, or vectors.features"
            )
            is_heard = bool(self.vectors.encoder)
            needed = "vectors.encoder hears it, vectors.features has no need of it"
            check_option(bool(self.corpus) == is_heard, "corpus", self.corpus, needed)


def run(config: LmPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/<format>`` for each format; returns documents and tokens of each."""
    from .data.preparation import prepare_corpora

    return prepare_corpora(
        run,
        vocabulary=config.vocabulary,
        formats=config.formats,
        texts={"train": config.texts, "valid": config.texts_heldout},
        tokens=config.tokens,
        corpus=config.corpus,
        vectors=config.vectors if config.speech == VECTORS else None,
        speech_splits={"train": config.train_split, "valid": config.valid_split},
        kinds=config.kinds,
        spoken={format for format, is_spoken in (("tts", config.spoken_tts), ("asr", config.spoken_asr)) if is_spoken},
        max_bad_share=config.max_bad_share,
    )


STAGE = Stage(
    name="lm.prepare",
    config=LmPrepareConfig,
    run=run,
    summary="Turn tokenised speech and texts into LM corpora: text, speech, asr, tts.",
    inputs=lambda config: [
        *(config.vocabulary, config.tokens, config.corpus, config.texts, config.texts_heldout),
        *config.vectors.inputs,
    ],
    example="vocabulary=runs/vocabulary/vocabulary tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/corpora",
)

if __name__ == "__main__":
    STAGE.exit()
