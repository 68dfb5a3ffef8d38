"""Options of lm.prepare."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.clip_job_config import ClipJobConfig
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .vector_config import SPEECH_INPUTS, TOKENS, VectorsConfig

PREPARED = ("text", "speech", "asr", "tts")


@dataclass(kw_only=True)
class LmPrepareConfig(ClipJobConfig, StageConfig):
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
        max_bad_share: share of bad lines in texts, or of utterances that cannot be used, that is tolerated; they are
            listed in ``<out>/bad_records.jsonl``.
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
