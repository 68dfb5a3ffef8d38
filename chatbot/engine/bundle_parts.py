"""The parts of a chatbot, loaded and checked: speech tokenizer, language model, speech decoder, settings, reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatbot.question_limits import QuestionLimits, max_positions
from chatbot.settings import ChatSettings, bundle_folder
from corpus.audio.files import Samples
from decoder.model import SpeechDecoder
from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from runtime.errors import UserError
from tokenizer.model import SpeechTokenizer


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A language model that runs behind an endpoint: its vocabulary and number of positions."""

    vocabulary: Vocabulary
    max_length: int

    @classmethod
    def from_pretrained(cls, folder: Path) -> ServedModel:
        """Read an exported model's folder, but not its weights."""
        return cls(Vocabulary.from_pretrained(folder), max_positions(folder))


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
        self.reply_format = settings.reply.reply_format()
        self.max_length = generator.max_length
        self.limits = QuestionLimits(settings.reply, self.max_length)
        self.max_speech_tokens, self.max_prompt_tokens = self.limits.max_speech_tokens, self.limits.max_prompt_tokens
        self.check_parts()
        if settings.reply.min_confidence and self.reply_format.kind != "text_guided":
            remedy = "set it to 0: only where the text stands before the speech (text_guided) can it be replaced"
            raise UserError("reply.min_confidence", found=f"a model of format {self.reply_format.kind}", remedy=remedy)
        if self.max_prompt_tokens < 16:
            found = f"up to {self.limits.reserved_tokens} tokens of answer in a model of {self.max_length} positions"
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
        return self.limits.longest

    def check_question(self, audio: Samples, subject: str = "the question") -> None:
        """Raise a `UserError` unless (S,) ``audio`` has the length of a question."""
        self.limits.check(audio, subject)

    def check_seconds(self, seconds: float, subject: str = "the question") -> None:
        """Raise a `UserError` unless a question may last that long."""
        self.limits.check_seconds(seconds, subject)
