"""``chat.yaml``: how a chatbot bundle listens and answers, and which artefacts belong together in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import artefact_folder, write_text
from runtime.errors import UserError, check_option

if TYPE_CHECKING:
    from lm.data.reply_format import ReplyFormat

SETTINGS_FILE = "chat.yaml"
FORMAT = 1


@dataclass(kw_only=True)
class ReplyConfig:
    """How a chatbot answers, as far as a user may choose.

    Attributes:
        remembered_turns: earlier turns of the dialogue that the model sees again; 0 takes each question by itself.
        max_question_seconds: longer questions are refused.
        kept_silence: seconds of silence beside the words of a question that the model hears, before and after each
            pause; null lets it hear all there is.
        max_text_tokens: longest transcript, and longest reply text.
        max_reply_seconds: longest spoken reply.
        text_temperature: of sampling the transcript and the reply text; 0 is greedy.
        speech_temperature: of sampling the reply's speech; 0 is greedy.
        top_p: nucleus mass of both.
        decoder_steps: Euler steps of the decoder; null is its default.
    """

    remembered_turns: int = 0
    max_question_seconds: float = 15.0
    kept_silence: float | None = 0.2
    max_text_tokens: int = 48
    max_reply_seconds: float = 8.0
    text_temperature: float = 0.0
    speech_temperature: float = 0.0
    top_p: float = 1.0
    decoder_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_question_seconds", "max_text_tokens", "max_reply_seconds"):
            check_option(getattr(self, name) > 0, f"reply.{name}", getattr(self, name), "give a positive number")
        for name in ("text_temperature", "speech_temperature", "remembered_turns"):
            check_option(getattr(self, name) >= 0, f"reply.{name}", getattr(self, name), "give 0 or more")
        check_option(0 < self.top_p <= 1, "reply.top_p", self.top_p, "give more than 0 and at most 1")
        is_long = self.kept_silence is None or self.kept_silence >= 0
        check_option(is_long, "reply.kept_silence", self.kept_silence, "give 0 or more, or null")
        is_sound = self.decoder_steps is None or self.decoder_steps >= 0
        check_option(is_sound, "reply.decoder_steps", self.decoder_steps, "give 0 (the regressed mean) or more")


@dataclass(kw_only=True)
class ReplySettings(ReplyConfig):
    """How a chatbot answers, with what follows from its training.

    Attributes:
        transcribe_first: write down what was heard before answering, as the model was trained to.
        format: of the replies: ``text_guided``, ``streaming`` or ``speech`` (`lm.data.reply_format`).
        text_block: text tokens of a block of the streaming format.
        speech_block: its speech tokens.
        system: the system prompt that dialogues begin with: a text, or a name of `lm.data.reply_format`; "" is none.
        follows_instructions: whether system prompts of users reach the model; one that was trained without any
            (``system`` is "") answers worse with them.
        plain_words: what is typed reaches the model in lower case, without punctuation, numbers in words, since its
            dialogues are all written so.
    """

    transcribe_first: bool = True
    format: str = "text_guided"
    text_block: int = 13
    speech_block: int = 26
    system: str = ""
    follows_instructions: bool = False
    plain_words: bool = False

    def as_learnt(self, text: str) -> str:
        """A typed text as the model has learnt to read texts (`plain_words`)."""
        from corpus.text.normalisation import normalise
        from corpus.text.spoken_form import spoken_form

        return (normalise(spoken_form(text, "builtin")) or text) if self.plain_words else text

    def reply_format(self) -> ReplyFormat:
        """The format of replies.

        Raises:
            UserError: no such format, or one that does not go with ``transcribe_first``.
        """
        from lm.data.reply_format import ReplyFormat

        return ReplyFormat(
            kind=self.format,
            transcribes=self.transcribe_first,
            text_block=self.text_block,
            speech_block=self.speech_block,
        )


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """All of ``chat.yaml``.

    Attributes:
        tokenizer: fingerprint of the speech tokenizer.
        vocabulary: fingerprint of the language model's vocabulary.
        voice: the decoder's voice that replies are spoken in.
        reply: how the model is asked to answer.
    """

    tokenizer: str
    vocabulary: str
    voice: str
    reply: ReplySettings

    def save(self, folder: Path | str) -> None:
        """Write ``chat.yaml`` into a bundle."""
        import yaml

        plain = {"format": FORMAT} | asdict(self)
        write_text(Path(folder) / SETTINGS_FILE, yaml.safe_dump(plain, sort_keys=False))

    @classmethod
    def load(cls, folder: Path | str) -> ChatSettings:
        """Read ``chat.yaml`` of a bundle.

        Raises:
            UserError: no such file, another format, or a setting that is unknown, missing or out of range.
        """
        import yaml

        file = Path(folder) / SETTINGS_FILE
        remedy = "give the bundle folder that chatbot.bundle wrote (<out>/bundle)"
        if not file.is_file():
            raise UserError(str(folder), found=f"no chatbot bundle (no {SETTINGS_FILE})", remedy=remedy)
        try:
            plain: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(str(file), found="not YAML", remedy="restore it, or bundle again") from error
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
            raise UserError(str(file), found=f"no chat settings of format {FORMAT}", remedy=remedy)
        try:
            return cls(**plain | {"reply": ReplySettings(**plain["reply"])})
        except (TypeError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(str(file), found=str(error), remedy="mend the setting, or bundle again") from error


def bundle_folder(path: Path | str) -> Path:
    """``path`` itself, or the bundle in it where it is the run folder of chatbot.bundle."""
    return artefact_folder(path, "bundle")
