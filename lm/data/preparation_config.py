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
        texts: for training, JSON lines {"id", "text"} (.jsonl, .jsonl.gz, .jsonl.zst), Parquet, a folder of such files,
            or a URL that fsspec reaches (needed for text).
        texts_heldout: the same, held out ("" = no held-out split for text).
        text_column: name of the texts' column or field.
        formats: which corpora to make, of text, speech, asr, tts.
        train_split: name of the split of tokens (or of the speech corpus) to train on.
        valid_split: name of the held-out split; its speakers should be among the training ones.
        kinds: for a format, the kinds of utterances it is made of, e.g. kinds.speech=[statement,story] (default: all).
        spoken_tts: write the transcripts of tts out (numbers, amounts and abbreviations in words), as the texts that a
            text-to-token model gets are.
        spoken_asr: write those of asr out, too; else the model learns to write what it hears as the transcripts do.
        max_bad_share: share of bad lines in texts, or of utterances that cannot be used, that is tolerated; they are
            listed in ``<out>/bad_records.jsonl``. Also the share of files of texts that may be broken.
        unit_megabytes: text, or tokenised speech, of a unit of work, whose documents are one shard of the corpus;
            compressed files of lines are not cut. It changes no document and no order.
    """

    vocabulary: str
    tokens: str = ""
    speech: str = option(TOKENS, one_of=SPEECH_INPUTS, is_later=True)
    corpus: str = option("", is_later=True)
    vectors: VectorsConfig = field(default_factory=VectorsConfig, metadata={LATER: True})
    texts: str = ""
    texts_heldout: str = ""
    text_column: str = option("text", is_later=True)
    formats: list[str] = option(list(PREPARED), one_of=PREPARED)
    train_split: str = "train"
    valid_split: str = "heldout_sentence"
    kinds: dict[str, list[str]] = field(default_factory=dict)
    spoken_tts: bool = option(True, is_later=True)
    spoken_asr: bool = option(False, is_later=True)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    unit_megabytes: float = option(64.0, above=0, is_later=True)

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

    def source_of_texts(self, split: str) -> str:
        """Where the texts of ``train`` or ``valid`` are."""
        return self.texts if split == "train" else self.texts_heldout

    def source_split(self, split: str) -> str:
        """Name of the split of speech that ``train`` or ``valid`` is made of."""
        return self.train_split if split == "train" else self.valid_split

    def is_spoken(self, format: str) -> bool:
        """Whether transcripts of a format are written out in words."""
        return {"tts": self.spoken_tts, "asr": self.spoken_asr}.get(format, False)
