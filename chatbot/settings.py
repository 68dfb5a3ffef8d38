"""``chat.yaml``: settings of a chatbot bundle's replies, and the fingerprints of its parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.text.spoken_words import spoken_words
from lm.data.reply_format import ReplyFormat
from runtime.artefact import artefact_folder, write_text
from runtime.config import Options, option, read_section
from runtime.errors import UserError

SETTINGS_FILE = "chat.yaml"
FORMAT = 1


@dataclass(kw_only=True)
class ReplyConfig(Options):
    """Options of replies that are free to choose.

    Attributes:
        remembered_turns: earlier turns of the dialogue that the model sees again; 0 takes each question by itself.
        max_question_seconds: longer questions are refused.
        kept_silence: seconds of silence around the words of a question that the model receives, before and after each
            pause; null keeps all silence.
        min_speech_probability: a spoken question in which no 32 ms are speech with this probability is not answered
            (`chatbot.engine.speech_detector`); 0 answers everything.
        min_confidence: a reply of which the model is less sure (mean probability of the tokens of its text, or of the
            question's transcript) is replaced by ``not_understood``; chatbot.calibrate sets it, 0 replaces none.
        not_understood: the sentence, spoken by the model as every reply.
        max_text_tokens: longest transcript, and longest reply text.
        max_reply_seconds: longest spoken reply.
        text_temperature: of sampling the transcript and the reply text; 0 is greedy.
        speech_temperature: of sampling the reply's speech; 0 is greedy.
        top_p: nucleus mass of both.
        decoder_steps: Euler steps of the decoder, 0 its regressed mean; null is its default.
    """

    remembered_turns: int = option(0, at_least=0)
    max_question_seconds: float = option(15.0, above=0)
    kept_silence: float | None = option(0.2, at_least=0)
    min_speech_probability: float = option(0.6, at_least=0, below=1, is_later=True)
    min_confidence: float = option(0.0, at_least=0, at_most=1, is_later=True)
    not_understood: str = option("I did not understand you.", is_later=True)
    max_text_tokens: int = option(48, above=0)
    max_reply_seconds: float = option(8.0, above=0)
    text_temperature: float = option(0.0, at_least=0)
    speech_temperature: float = option(0.0, at_least=0)
    top_p: float = option(1.0, above=0, at_most=1)
    decoder_steps: int | None = option(None, at_least=0)


@dataclass(kw_only=True)
class ReplyTraining(Options):
    """Options of replies that the model's training fixes (`lm.data.reply_format`).

    Attributes:
        transcribe_first: the model writes the question's words down before it answers (Q_t of the turn).
        format: ``text_guided`` (text, then speech), ``streaming`` (text and speech alternate) or ``speech`` (no text).
        text_block: text tokens of a block of the streaming format (13: GLM-4-Voice).
        speech_block: its speech tokens (26: GLM-4-Voice).
        system: system prompt of dialogues without one of their own: a text, or ``glm4voice``; "" for none.
    """

    transcribe_first: bool = True
    format: str = "text_guided"
    text_block: int = 13
    speech_block: int = 26
    system: str = ""

    def reply_format(self) -> ReplyFormat:
        """The format of replies.

        Raises:
            UserError: no such format, or one that does not go with ``transcribe_first``.
        """
        return ReplyFormat(
            kind=self.format,
            transcribes=self.transcribe_first,
            text_block=self.text_block,
            speech_block=self.speech_block,
        )


@dataclass(kw_only=True)
class ReplySettings(ReplyTraining, ReplyConfig):
    """All options of replies, as chat.yaml holds them.

    Attributes:
        follows_instructions: whether system prompts of users reach the model; one that was trained without any
            (``system`` is "") answers worse with them.
        plain_words: typed text reaches the model in lower case, without punctuation, numbers in words, as all texts of
            its training.
    """

    follows_instructions: bool = False
    plain_words: bool = False

    def as_learnt(self, text: str) -> str:
        """A typed text as the model has learnt to read texts (`plain_words`)."""
        return (spoken_words(text) or text) if self.plain_words else text


@dataclass(frozen=True, kw_only=True)
class HearingSettings:
    """Speech of the user that the language model reads as vectors.

    Attributes:
        encoder: fingerprint of the speech encoder.
        positions_per_second: vectors that the language model reads.
        transcribes: the language model knows the transcription task.
    """

    encoder: str
    positions_per_second: float
    transcribes: bool = False


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """All of ``chat.yaml``.

    Attributes:
        tokenizer: fingerprint of the speech tokenizer whose tokens the decoder speaks.
        vocabulary: fingerprint of the language model's vocabulary.
        voice: the decoder's voice that replies are spoken in.
        reply: options of the replies.
        hearing: of a model that hears vectors, and whose replies the bundle's reader reads aloud; None of one that
            hears and speaks tokens.
    """

    tokenizer: str
    vocabulary: str
    voice: str
    reply: ReplySettings
    hearing: HearingSettings | None = None

    @property
    def can_transcribe(self) -> bool:
        """Whether the language model can write down speech that it does not reply to."""
        return self.hearing is None or self.hearing.transcribes

    def save(self, folder: Path | str) -> None:
        """Write ``chat.yaml`` into a bundle."""
        import yaml

        plain = {"format": FORMAT} | asdict(self)
        if self.hearing is None:
            del plain["hearing"]
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
            hearing = HearingSettings(**plain["hearing"]) if plain.get("hearing") else None
            reply = read_section(ReplySettings, plain["reply"], "reply.")
            return cls(**plain | {"reply": reply, "hearing": hearing})
        except (TypeError, KeyError) as error:
            raise UserError(str(file), found=str(error), remedy="correct the setting, or bundle again") from error


def bundle_folder(path: Path | str) -> Path:
    """``path`` itself, or the bundle in it where it is the run folder of chatbot.bundle."""
    return artefact_folder(path, "bundle")
