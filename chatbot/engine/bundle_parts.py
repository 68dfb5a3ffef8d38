"""The parts of a chatbot, loaded and checked: speech tokenizer (or encoder and connector), language model, speech
decoder, settings, reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatbot.question_limits import QuestionLimits, max_positions
from chatbot.settings import ChatSettings, bundle_folder
from corpus.audio.files import Samples
from decoder.model import SpeechDecoder
from lm.data.hearing_folder import HEARING_FOLDER
from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from lm.inference.listening_model import ListeningModel
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
    """A whole chatbot: ears, language model, speech decoder, settings.

    Attributes:
        tokenizer: makes tokens of the user's speech; None of a model that hears vectors.
        hearing: the language model with the encoder and the connector that make vectors of the user's speech; None of
            a model that hears tokens.
        reader: a text-to-token model that reads given texts aloud, and the replies of a model that hears vectors; None
            leaves that to the language model.
        spoken_vocabulary: of the model that reads aloud; its speech tokens are the decoder's.

    Raises:
        UserError: parts that do not belong together.
    """

    def __init__(
        self,
        tokenizer: SpeechTokenizer | None,
        generator: Generator | ServedModel,
        decoder: SpeechDecoder,
        settings: ChatSettings,
        reader: Generator | None = None,
        hearing: ListeningModel | None = None,
    ) -> None:
        self.tokenizer, self.generator, self.decoder, self.settings = tokenizer, generator, decoder, settings
        self.reader, self.hearing = reader, hearing
        self.vocabulary = generator.vocabulary
        self.spoken_vocabulary = (reader or generator).vocabulary
        self.reply_format = settings.reply.reply_format()
        self.max_length = generator.max_length
        self.limits = QuestionLimits(settings, self.max_length)
        self.max_speech_tokens, self.max_prompt_tokens = self.limits.max_speech_tokens, self.limits.max_prompt_tokens
        if hearing is None:
            self.check_parts()
        else:
            self.check_hearing(hearing)
        self.decoder.speaker_row(self.settings.voice)
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
            folder: with ``tokenizer/ lm/ decoder/ chat.yaml``, and perhaps ``reader/``; of a model that hears vectors
                with ``hearing/ lm/ reader/ decoder/ chat.yaml``.
            dtype: of the language model, "float32" or "bfloat16".
            device: a torch device.
            has_weights: False leaves the language model's weights out: it runs elsewhere.

        Raises:
            UserError: no bundle, an incomplete one, or parts that do not belong together.
        """
        root = bundle_folder(folder)
        settings = ChatSettings.load(root)
        ears = ["tokenizer"] if settings.hearing is None else [HEARING_FOLDER, "reader"]
        for part in (*ears, "lm", "decoder"):
            if not (root / part).is_dir():
                remedy = "copy the whole bundle again, or run chatbot.bundle again"
                raise UserError(str(root), found=f"an incomplete bundle: no folder {part}/", remedy=remedy)
        if not has_weights and settings.hearing is not None:
            remedy = "run the model here: leave the endpoint (backend_url) out"
            raise UserError(str(root), found="a model that hears vectors, which no endpoint takes", remedy=remedy)
        generator = (
            Generator.from_pretrained(root / "lm", dtype=dtype, device=device)
            if has_weights
            else ServedModel.from_pretrained(root / "lm")
        )
        has_reader = (root / "reader").is_dir()
        reader = Generator.from_pretrained(root / "reader", dtype=dtype, device=device) if has_reader else None
        tokenizer = hearing = None
        if settings.hearing is None:
            tokenizer = SpeechTokenizer.from_pretrained(root / "tokenizer", device)
        else:
            assert isinstance(generator, Generator)
            hearing = ListeningModel.of_parts(generator, root / HEARING_FOLDER, device=device)
        decoder = SpeechDecoder.from_pretrained(root / "decoder").to(device)
        return cls(tokenizer, generator, decoder, settings, reader, hearing)

    def check_parts(self) -> None:
        """Raise a `UserError` unless tokenizer, model and decoder have the same tokens."""
        assert self.tokenizer is not None
        token_maker, remedy = self.tokenizer.fingerprint, "bundle parts of one training chain (chatbot.bundle)"
        for part, found in (
            ("the language model's vocabulary", self.vocabulary.speech_fingerprint),
            ("the decoder", self.decoder.tokenizer),
            ("chat.yaml", self.settings.tokenizer),
        ):
            if found != token_maker:
                mismatch = f"made for speech tokenizer {found}, but the tokenizer is {token_maker}"
                raise UserError(part, found=mismatch, remedy=remedy)
        self._check_vocabulary(remedy)
        if self.reader is not None and self.reader.vocabulary.fingerprint != self.vocabulary.fingerprint:
            mismatch = f"vocabulary {self.reader.vocabulary.fingerprint}, but the language model's is "
            raise UserError("the reader", found=mismatch + self.vocabulary.fingerprint, remedy=remedy)

    def check_hearing(self, hearing: ListeningModel) -> None:
        """Raise a `UserError` unless the model hears by the encoder of its training, and reader and decoder fit."""
        remedy = "bundle the parts again (chatbot.bundle)"
        told = self.settings.hearing
        if told is None or self.reader is None:
            raise UserError("chat.yaml", found="nothing of hearing, or no reader, in this bundle", remedy=remedy)
        own = (hearing.needed_encoder.fingerprint, hearing.positions_per_second)
        if (told.encoder, told.positions_per_second) != own:
            mismatch = f"encoder {own[0]} at {own[1]:g} positions a second, but chat.yaml says {told.encoder} at "
            raise UserError(f"{HEARING_FOLDER}/", found=f"{mismatch}{told.positions_per_second:g}", remedy=remedy)
        self._check_vocabulary(remedy)
        if self.reply_format.kind != "text_guided":
            remedy = "set it to text_guided: such a model writes its replies, and the reader reads them aloud"
            raise UserError("reply.format", found=self.reply_format.kind, remedy=remedy)
        for part, tokenizer in (("the decoder", self.decoder.tokenizer), ("chat.yaml", self.settings.tokenizer)):
            if tokenizer != self.spoken_vocabulary.speech_fingerprint:
                mismatch = f"made for speech tokenizer {tokenizer}, but the reader's tokens are of "
                mismatch += self.spoken_vocabulary.speech_fingerprint
                raise UserError(part, found=mismatch, remedy="give the reader and the decoder of one training chain")

    def _check_vocabulary(self, remedy: str) -> None:
        if self.settings.vocabulary != self.vocabulary.fingerprint:
            mismatch = f"vocabulary {self.vocabulary.fingerprint}, but chat.yaml says {self.settings.vocabulary}"
            raise UserError("the language model", found=mismatch, remedy=remedy)

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
