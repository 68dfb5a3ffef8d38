"""Make the fine-tuning corpus of a spoken chatbot from spoken questions, from files of dialogues, or from both.

    python -m chatbot.prepare corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens \\
        vocabulary=runs/quickstart/vocabulary/vocabulary out=runs/quickstart/chat_data

Every spoken version of a built-in training question (many voices) is one dialogue of one turn (Q_s, Q_t, A_t, A_s), as
in 2411.17607 and GLM-4-Voice (section 4.2): the question's speech, its words, the reply's words, and the reply spoken
in the answer voice. With ``multi_turn`` these turns, and follow-up questions, are put together to dialogues. Held-out
questions, whose words occur in no training data, are the validation split. Files of dialogues (`chatbot.dialogues`
makes them) may have many turns.

Writes <out>/chat/, an LM corpus of format chat that lm.train takes; its ``losses`` learn from the two parts of each
sample (GLM-4-Voice) instead of from all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import artefact_folder
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from lm.data.formats import Ids
    from lm.data.reply_format import ReplyFormat
    from lm.data.vocabulary import Vocabulary

    from .data.dialogue_files import Dialogue
    from .data.lm_documents import DialogueDocuments

SPLITS = {"train": "train", "valid": "heldout_sentence"}


@dataclass(kw_only=True)
class ChatPrepareConfig(StageConfig):
    """Options of chatbot.prepare.

    Attributes:
        out: run folder; the LM corpus is <out>/chat.
        seed: of the choice of questions that come typed as well.
        vocabulary: the vocabulary folder, or the run folder of lm.vocabulary.
        corpus: output folder of corpus.build (questions.jsonl tells the replies), with ``tokens``; "" for none.
        tokens: output folder of tokenizer.encode; utterances of kind question and reply are used.
        takes: further outputs of tokenizer.encode on ``corpus``, of its questions in rooms (``room.share=1``) and of
            other seeds: every training dialogue comes once more with each, so that the model learns the words and
            not the tokens. Replies stay those of ``tokens``.
        multi_turn: train on the corpus's dialogues (dialogues.jsonl: follow-up questions, and questions about this and
            that one after another) instead of on every question by itself.
        dialogues: a file of dialogues with speech tokens, or a folder of them; "" for none.
        dialogues_heldout: the same, for the validation split.
        format: of the replies: ``text_guided`` (text, then speech), ``streaming`` (text and speech alternate) or
            ``speech`` (no text); see lm/data/reply_format.py.
        text_block: text tokens of a block of the streaming format (13: GLM-4-Voice).
        speech_block: its speech tokens (26: GLM-4-Voice).
        transcribe_first: let the model write the question's words down before it answers (Q_t of the turn).
        system: what a dialogue without system prompt begins with: a text, or ``glm4voice``; "" for nothing.
        typed_share: share of the training dialogues whose questions are typed; they come besides the spoken ones.
        max_tokens: longest document; the oldest turns of a longer dialogue become documents of their own.
        voice: the voice that replies are spoken in; empty takes the one that speaks most replies.
        max_skipped_share: share of dialogues that cannot be used (a question without spoken reply, say) that is put
            up with, and of bad records in files of dialogues.
    """

    vocabulary: str
    corpus: str = ""
    tokens: str = ""
    takes: list[str] = field(default_factory=list)
    multi_turn: bool = False
    dialogues: str = ""
    dialogues_heldout: str = ""
    format: str = "text_guided"
    text_block: int = 13
    speech_block: int = 26
    transcribe_first: bool = True
    system: str = ""
    typed_share: float = 0.0
    max_tokens: int = 2048
    voice: str = ""
    max_skipped_share: float = 0.1

    def __post_init__(self) -> None:
        is_share = 0 <= self.max_skipped_share < 1
        check_option(is_share, "max_skipped_share", self.max_skipped_share, "give a share in [0, 1)")
        at_most_half = "give a share in [0, 0.5]: there is no more than one typed version of each"
        check_option(0 <= self.typed_share <= 0.5, "typed_share", self.typed_share, at_most_half)
        check_option(self.max_tokens >= 8, "max_tokens", self.max_tokens, "give at least 8")
        is_whole = bool(self.corpus) == bool(self.tokens)
        check_option(is_whole, "tokens", self.tokens, "give corpus and tokens together")
        check_option(bool(self.tokens) or not self.takes, "takes", self.takes, "give corpus and tokens, too")
        is_built_in = bool(self.corpus) or not self.multi_turn
        check_option(is_built_in, "multi_turn", self.multi_turn, "give corpus and tokens, too: its dialogues are meant")
        has_source = bool(self.corpus or self.dialogues)
        check_option(has_source, "dialogues", self.dialogues, "give dialogues, or corpus and tokens")
        self.reply_format()

    def reply_format(self) -> ReplyFormat:
        """The format of replies."""
        from lm.data.reply_format import ReplyFormat

        return ReplyFormat(
            kind=self.format,
            transcribes=self.transcribe_first,
            text_block=self.text_block,
            speech_block=self.speech_block,
        )


def run(config: ChatPrepareConfig, run: Run) -> dict[str, Any]:
    """Join questions with replies, read dialogues, and write the LM corpus."""
    from lm.data.corpora import write_corpus
    from lm.data.vocabulary import Vocabulary

    from .data.lm_documents import DialogueDocuments

    vocabulary = Vocabulary.from_pretrained(artefact_folder(config.vocabulary, "vocabulary"))
    sources = Sources(config, vocabulary)
    maker = DialogueDocuments(
        vocabulary,
        config.reply_format(),
        system=config.system,
        typed_share=config.typed_share,
        max_tokens=config.max_tokens,
        seed=config.seed,
        skipped=sources.skipped,
    )
    provenance: dict[str, Any] = {
        "voice": sources.voice,
        "transcribe_first": config.transcribe_first,
        "format": config.format,
        "text_block": config.text_block,
        "speech_block": config.speech_block,
        "system": config.system,
        "speech": [one for one in (config.tokens, *config.takes, config.dialogues) if one],
    }
    with run.progress(1, "chat corpus", unit="corpus") as bar:
        train, valid = (maker.documents(sources.dialogues[split]) for split in SPLITS)
        info = write_corpus(
            run.folder / "chat", "chat", vocabulary, train, noting(valid, maker, provenance), provenance
        )
        bar.update()
    check_skipped(maker, config)
    return {
        "train_documents": info.splits["train"].documents,
        "valid_documents": info.splits["valid"].documents,
        "train_text_tokens": info.splits["train"].text_tokens,
        "train_speech_tokens": info.splits["train"].speech_tokens,
        "longest_document": max(split.longest for split in info.splits.values()),
        "spoken": maker.made["spoken"],
        "typed": maker.made["typed"],
        "skipped": sum(maker.skipped.values()),
    }


class Sources:
    """The dialogues of each split, from the built-in corpus, then from files.

    Attributes:
        dialogues: split -> its dialogues, to be gone through once.
        voice: that most replies are spoken in, or the option's.
        skipped: why questions were left out -> how many (filled in as they are drawn).
    """

    def __init__(self, config: ChatPrepareConfig, vocabulary: Vocabulary) -> None:
        self.skipped: Counter[str] = Counter()
        self.voice = config.voice
        parts: dict[str, list[Iterable[Dialogue]]] = {split: [] for split in SPLITS}
        if config.corpus:
            self._add_questions(config, vocabulary, parts)
        for split, path in (("train", config.dialogues), ("valid", config.dialogues_heldout)):
            if path:
                parts[split].append(self._read(path, config.max_skipped_share, vocabulary))
        self.dialogues = {split: chain(*parts[split]) for split in SPLITS}

    def _add_questions(
        self, config: ChatPrepareConfig, vocabulary: Vocabulary, parts: dict[str, list[Iterable[Dialogue]]]
    ) -> None:
        from corpus.world.dialogues import read_question_dialogues
        from corpus.world.questions import read_questions
        from lm.data.readers import read_split

        from .data.question_dialogues import asked_dialogues, joined_dialogues, reply_voice, spoken_replies

        speech = {split: read_split(config.tokens, name) for split, name in SPLITS.items()}
        for one in speech.values():
            vocabulary.check_speech_tokenizer(one.tokenizer, config.tokens)
        takes = [read_split(folder, SPLITS["train"]) for folder in config.takes]
        for folder, one in zip(config.takes, takes, strict=True):
            vocabulary.check_speech_tokenizer(one.tokenizer, folder)
        self.voice = self.voice or reply_voice(speech["train"].items, config.tokens)
        replies = spoken_replies(speech["train"].items, self.voice, config.tokens)
        questions = read_questions(config.corpus)
        asked = read_question_dialogues(Path(config.corpus) / "dialogues.jsonl") if config.multi_turn else []
        for split, one in [*speech.items(), *(("train", take) for take in takes)]:
            if config.multi_turn and split == "train":
                parts[split].append(joined_dialogues(one.items, asked, replies, self.voice, self.skipped))
            else:
                parts[split].append(asked_dialogues(one.items, questions, replies, self.voice, self.skipped))

    def _read(self, path: str, max_bad_share: float, vocabulary: Vocabulary) -> list[Dialogue]:
        from .data.dialogue_files import read_dialogues

        found = read_dialogues(path, max_bad_share)
        if found.marks.tokenizer:
            vocabulary.check_speech_tokenizer(found.marks.tokenizer, path)
        speakers = Counter(reply.speaker for one in found.dialogues for reply in one.turns[1::2] if reply.speaker)
        self.voice = self.voice or min(speakers, key=lambda name: (-speakers[name], name), default="")
        self.skipped.update(record.reason for record in found.bad)
        return found.dialogues


def noting(documents: Iterable[Ids], maker: DialogueDocuments, provenance: dict[str, Any]) -> Iterator[Ids]:
    """The last documents; when they are drawn it is known how all texts are written."""
    yield from documents
    provenance["plain_words"] = maker.is_plain


def check_skipped(maker: DialogueDocuments, config: ChatPrepareConfig) -> None:
    """Raise a `UserError` if too many dialogues had to be left out."""
    num_skipped, num_made = sum(maker.skipped.values()), sum(maker.made.values())
    if num_skipped > config.max_skipped_share * (num_skipped + num_made):
        counted = ", ".join(f"{count} with {reason}" for reason, count in maker.skipped.most_common())
        found = f"of {num_skipped + num_made} dialogues {counted}"
        remedy = f"give the tokens of this corpus, or raise max_skipped_share={config.max_skipped_share}"
        raise UserError(config.dialogues or config.tokens, found=found, remedy=remedy)


STAGE = Stage(
    name="chatbot.prepare",
    config=ChatPrepareConfig,
    run=run,
    summary="Spoken questions, dialogues -> the LM corpus that fine-tunes a spoken chatbot.",
    inputs=lambda config: [
        config.vocabulary,
        *filter(None, (config.corpus, config.tokens, *config.takes, config.dialogues, config.dialogues_heldout)),
    ],
    example="corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens "
    "vocabulary=runs/quickstart/vocabulary out=runs/quickstart/chat_data",
)

if __name__ == "__main__":
    STAGE.exit()
