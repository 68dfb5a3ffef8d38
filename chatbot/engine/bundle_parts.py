"""The parts of a chatbot, loaded and checked: speech tokenizer, language model, speech decoder, settings, reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatbot.settings import ChatSettings, bundle_folder
from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN
from decoder.model import SpeechDecoder
from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from runtime.artefact import read_json
from runtime.errors import UserError
from tokenizer.model import SpeechTokenizer

TOKENS_PER_SECOND = SAMPLE_RATE / SAMPLES_PER_TOKEN
MIN_QUESTION_SECONDS = 0.1
PROMPT_MARKS = 4  # <|user|> BOA ... EOA <|assistant|>


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A language model that runs behind an endpoint: its vocabulary and number of positions."""

    vocabulary: Vocabulary
    max_length: int

    @classmethod
    def from_pretrained(cls, folder: Path) -> ServedModel:
        """Read an exported model's folder, but not its weights."""
        return cls(
            Vocabulary.from_pretrained(folder), int(read_json(folder / "config.json")["max_position_embeddings"])
        )


class Bundle:
    """A whole chatbot: speech tokenizer, language model, speech decoder, settings.

    Attributes:
        reader: a text-to-token model that reads given texts aloud; None leaves that to the language model.

    Raises:
        UserError: parts that do not belong together.
    """

    def __init__(
        self,
        tokenizer: SpeechTokenizer,
        generator: Generator | ServedModel,
        decoder: SpeechDecoder,
        settings: ChatSettings,
        reader: Generator | None = None,
    ) -> None:
        self.tokenizer, self.generator, self.decoder, self.settings = tokenizer, generator, decoder, settings
        self.reader = reader
        self.vocabulary = generator.vocabulary
        reply = settings.reply
        self.reply_format = reply.reply_format()
        self.max_length = generator.max_length
        self.max_speech_tokens = max(1, int(reply.max_reply_seconds * TOKENS_PER_SECOND))
        self.check_parts()
        # Tokens that one answer may add to the context: two texts, speech, and the marks between them.
        reserved = (1 + reply.transcribe_first) * reply.max_text_tokens + self.max_speech_tokens + 8
        self.max_prompt_tokens = self.max_length - reserved
        if self.max_prompt_tokens < 16:
            found = f"up to {reserved} tokens of answer in a model of {self.max_length} positions"
            remedy = "lower max_text_tokens or max_reply_seconds in chat.yaml"
            raise UserError("the chatbot's settings", found=found, remedy=remedy)

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, dtype: str = "float32", device: str = "cpu", has_weights: bool = True
    ) -> Bundle:
        """Load a bundle folder (or the run folder of chatbot.bundle that holds one).

        Args:
            folder: with ``tokenizer/ lm/ decoder/ chat.yaml``, and perhaps ``reader/``.
            dtype: of the language model, "float32" or "bfloat16".
            device: a torch device.
            has_weights: False leaves the language model's weights out: it runs elsewhere.

        Raises:
            UserError: no bundle, an incomplete one, or parts that do not belong together.
        """
        root = bundle_folder(folder)
        settings = ChatSettings.load(root)
        for part in ("tokenizer", "lm", "decoder"):
            if not (root / part).is_dir():
                remedy = "copy the whole bundle again, or run chatbot.bundle again"
                raise UserError(str(root), found=f"an incomplete bundle: no folder {part}/", remedy=remedy)
        return cls(
            SpeechTokenizer.from_pretrained(root / "tokenizer", device),
            (
                Generator.from_pretrained(root / "lm", dtype=dtype, device=device)
                if has_weights
                else ServedModel.from_pretrained(root / "lm")
            ),
            SpeechDecoder.from_pretrained(root / "decoder").to(device),
            settings,
            Generator.from_pretrained(root / "reader", dtype=dtype, device=device)
            if (root / "reader").is_dir()
            else None,
        )

    def check_parts(self) -> None:
        """Raise a `UserError` unless tokenizer, model and decoder have the same tokens."""
        token_maker, remedy = self.tokenizer.fingerprint, "bundle parts of one training chain (chatbot.bundle)"
        for part, found in (
            ("the language model's vocabulary", self.vocabulary.speech_fingerprint),
            ("the decoder", self.decoder.tokenizer),
            ("chat.yaml", self.settings.tokenizer),
        ):
            if found != token_maker:
                mismatch = f"made for speech tokenizer {found}, but the tokenizer is {token_maker}"
                raise UserError(part, found=mismatch, remedy=remedy)
        if self.settings.vocabulary != self.vocabulary.fingerprint:
            mismatch = f"vocabulary {self.vocabulary.fingerprint}, but chat.yaml says {self.settings.vocabulary}"
            raise UserError("the language model", found=mismatch, remedy=remedy)
        if self.reader is not None and self.reader.vocabulary.fingerprint != self.vocabulary.fingerprint:
            mismatch = f"vocabulary {self.reader.vocabulary.fingerprint}, but the language model's is "
            raise UserError("the reader", found=mismatch + self.vocabulary.fingerprint, remedy=remedy)
        self.decoder.speaker_row(self.settings.voice)

    @property
    def longest_question(self) -> float:
        """Seconds of a question that settings and context leave room for."""
        room = (self.max_prompt_tokens - PROMPT_MARKS) / TOKENS_PER_SECOND
        return min(self.settings.reply.max_question_seconds, room)

    def check_question(self, audio: Samples, subject: str = "the question") -> None:
        """Raise a `UserError` unless (S,) ``audio`` has the length of a question."""
        self.check_seconds(len(audio) / SAMPLE_RATE, subject)

    def check_seconds(self, seconds: float, subject: str = "the question") -> None:
        """Raise a `UserError` unless a question may last that long."""
        if seconds < MIN_QUESTION_SECONDS:
            remedy = f"record at least {MIN_QUESTION_SECONDS} s"
            raise UserError(subject, found=f"{seconds:.2f} s of audio", remedy=remedy)
        longest = self.longest_question
        if seconds > longest:
            remedy = f"ask in at most {longest:.1f} s (max_question_seconds of chat.yaml, and the model's context)"
            raise UserError(subject, found=f"{seconds:.1f} s of audio", remedy=remedy)
