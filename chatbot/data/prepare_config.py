"""Options of chatbot.prepare."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatbot.settings import ReplyTraining
from corpus.clip_job_config import ClipJobConfig
from lm.data.vector_config import SPEECH_INPUTS, TOKENS, VECTORS, VectorsConfig
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig

REPLIES = ("auto", "speech", "text")


@dataclass(kw_only=True)
class ChatPrepareConfig(ReplyTraining, ClipJobConfig, StageConfig):
    """Options of chatbot.prepare.

    Attributes:
        out: run folder; the LM corpus is <out>/chat.
        seed: of the choice of questions that come typed as well.
        vocabulary: the vocabulary folder, or the run folder of lm.vocabulary.
        corpus: output folder of corpus.build or corpus.accounts (questions.jsonl holds the replies), with ``tokens``;
            "" for none.
        tokens: output folder of tokenizer.encode; utterances of kind question and reply are used.
        takes: further outputs of tokenizer.encode on ``corpus``, of its questions in rooms (``room.share=1``) and of
            other seeds: every training dialogue comes once more with each, so that the model learns the words and
            not the tokens. Replies stay those of ``tokens``.
        multi_turn: train on the corpus's dialogues (dialogues.jsonl: follow-up questions, and questions about this and
            that one after another) instead of on every question by itself.
        dialogues: a file of dialogues with speech tokens, or a folder of them; "" for none.
        dialogues_heldout: the same, for the validation split.
        speech: tokens, or vectors of an encoder: then questions are recordings and replies text. ``corpus`` is asked by
            its recordings, without ``tokens``; ``dialogues`` may be of others: NeMo's conversations, ShareGPT with
            sound, messages with audios (`chatbot.data.audio_layouts`).
        reply: speech (and its text, by ``format``), or text alone: of vectors, and of tokens that lm.train reads as
            vectors (``speech.source=codes``). auto: speech where speech is tokens.
        vectors: the encoder, or for ``corpus`` its stored features (speech=vectors).
        typed_share: share of the training dialogues whose questions are typed, too.
        max_tokens: longest document; the oldest turns of a longer dialogue become documents of their own.
        voice: the voice that replies are spoken in; empty takes the one that speaks most replies.
        max_skipped_share: largest share of dialogues that cannot be used (a question without spoken reply, say),
            and of bad records in files of dialogues.
    """

    vocabulary: str
    corpus: str = ""
    tokens: str = ""
    takes: list[str] = field(default_factory=list)
    multi_turn: bool = False
    dialogues: str = ""
    dialogues_heldout: str = ""
    speech: str = option(TOKENS, one_of=SPEECH_INPUTS, is_later=True)
    reply: str = option("auto", one_of=REPLIES, is_later=True)
    vectors: VectorsConfig = field(default_factory=VectorsConfig, metadata={LATER: True})
    typed_share: float = option(
        0.0, at_least=0, at_most=0.5, remedy="give at most 0.5: there is no more than one typed version of each"
    )
    max_tokens: int = option(2048, at_least=8)
    voice: str = ""
    max_skipped_share: float = option(0.1, at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.speech == VECTORS:
            self._check_vectors()
        else:
            is_whole = bool(self.corpus) == bool(self.tokens)
            check_option(is_whole, "tokens", self.tokens, "give corpus and tokens together")
            check_option(not self.vectors.is_given, "vectors", self.vectors, "give speech=vectors, too")
        check_option(bool(self.tokens) or not self.takes, "takes", self.takes, "give corpus and tokens, too")
        is_built_in = bool(self.corpus) or not self.multi_turn
        check_option(
            is_built_in,
            "multi_turn",
            self.multi_turn,
            "give corpus and tokens, too: it takes their dialogues",
        )
        has_source = bool(self.corpus or self.dialogues)
        check_option(has_source, "dialogues", self.dialogues, "give dialogues, or corpus and tokens")
        self.reply_format()
        if not self.is_spoken_reply:
            is_text = self.format == "text_guided"
            check_option(is_text, "format", self.format, "give text_guided: replies are text")

    @property
    def is_spoken_reply(self) -> bool:
        """Whether replies are spoken."""
        return self.reply == "speech" or (self.reply == "auto" and self.speech == TOKENS)

    def _check_vectors(self) -> None:
        check_option(self.reply != "speech", "reply", self.reply, "give auto or text: vectors can only be read")
        check_option(not self.tokens, "tokens", self.tokens, "speech=vectors reads recordings, or stored features")
        is_given = self.vectors.is_given
        check_option(is_given, "vectors.encoder", self.vectors.encoder, "give it, or vectors.features of the corpus")
        needs_audio = bool(self.dialogues or self.dialogues_heldout)
        remedy = "dialogues have no stored features: give vectors.encoder"
        check_option(not (needs_audio and self.vectors.features), "vectors.features", self.vectors.features, remedy)
