"""Make the fine-tuning corpus of a spoken chatbot: spoken questions with their replies in text and speech.

    python -m chatbot.prepare corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens \\
        vocabulary=runs/quickstart/vocabulary/vocabulary out=runs/quickstart/chat_data

Every spoken version of a training question (many voices) is one dialogue of one turn (Q_s, Q_t, A_t, A_s), as in
2411.17607 and GLM-4-Voice (section 4.2): the question's speech, its words, the reply's words, and the reply spoken in
the answer voice. Held-out questions, whose words occur in no training data, are the validation split.

Writes <out>/chat/, an LM corpus of format chat that lm.train takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from corpus.questions import AskedQuestion
    from corpus.tokens import TokenisedUtterance
    from lm.vocabulary import Vocabulary

QUESTION, REPLY = "question", "reply"


@dataclass(kw_only=True)
class PrepareConfig(StageConfig):
    """Options of chatbot.prepare.

    Attributes:
        out: run folder; the LM corpus is <out>/chat.
        seed: unused: nothing is drawn.
        corpus: output folder of corpus.build (questions.jsonl tells the replies).
        tokens: output folder of tokenizer.encode; utterances of kind question and reply are used.
        vocabulary: the vocabulary folder, or the run folder of lm.vocabulary.
        transcribe_first: let the model write the question's words down before it answers (Q_t of the turn).
        voice: the voice that replies are spoken in; empty takes the one that speaks most replies.
        max_skipped_share: share of questions without a spoken reply that is put up with.
    """

    corpus: str
    tokens: str
    vocabulary: str
    transcribe_first: bool = True
    voice: str = ""
    max_skipped_share: float = 0.1

    def __post_init__(self) -> None:
        is_share = 0 <= self.max_skipped_share < 1
        check_option(is_share, "max_skipped_share", self.max_skipped_share, "give a share in [0, 1)")


@dataclass
class Dialogues:
    """The questions of one split with their spoken replies; `skipped` counts by reason those that have none."""

    questions: dict[str, AskedQuestion]
    replies: dict[str, npt.NDArray[np.uint16]]
    transcribe_first: bool
    skipped: Counter[str] = field(default_factory=Counter)

    def documents(
        self, items: list[TokenisedUtterance], vocabulary: Vocabulary
    ) -> Iterator[npt.NDArray[np.integer[Any]]]:
        """One chat document for each spoken question."""
        from corpus.text import normalise
        from lm.formats import Turn, chat_document

        for item in items:
            if item.kind != QUESTION:
                continue
            asked = self.questions.get(normalise(item.text))
            speech = self.replies.get(normalise(asked.reply)) if asked else None
            if asked is None or speech is None:
                self.skipped["no such question in questions.jsonl" if asked is None else "no spoken reply"] += 1
                continue
            transcript = item.text if self.transcribe_first else None
            yield chat_document([Turn(item.tokens, asked.reply, speech, transcript)], vocabulary)


def run(config: PrepareConfig, run: Run) -> dict[str, Any]:
    """Join questions with replies and write the LM corpus."""
    from corpus.questions import read_questions
    from lm.corpora import write_corpus
    from lm.sources import read_split
    from lm.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_pretrained(vocabulary_folder(config.vocabulary))
    train, valid = read_split(config.tokens, "train"), read_split(config.tokens, "heldout_sentence")
    for speech in (train, valid):
        vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    voice = config.voice or reply_voice(train.items, config.tokens)
    dialogues = Dialogues(
        read_questions(config.corpus), spoken_replies(train.items, voice, config.tokens), config.transcribe_first
    )
    provenance = {"transcribe_first": config.transcribe_first, "voice": voice, "speech": str(config.tokens)}
    with run.progress(1, "chat corpus", unit="corpus") as bar:
        info = write_corpus(
            run.folder / "chat",
            "chat",
            vocabulary,
            dialogues.documents(train.items, vocabulary),
            dialogues.documents(valid.items, vocabulary),
            provenance,
        )
        bar.update()
    num_skipped = sum(dialogues.skipped.values())
    num_made = sum(split.documents for split in info.splits.values())
    if num_skipped > config.max_skipped_share * (num_skipped + num_made):
        counted = ", ".join(f"{count} with {reason}" for reason, count in dialogues.skipped.most_common())
        found = f"of {num_skipped + num_made} spoken questions {counted}"
        remedy = f"give the tokens of this corpus, or raise max_skipped_share={config.max_skipped_share}"
        raise UserError(config.tokens, found=found, remedy=remedy)
    return {
        "train_documents": info.splits["train"].documents,
        "valid_documents": info.splits["valid"].documents,
        "train_text_tokens": info.splits["train"].text_tokens,
        "train_speech_tokens": info.splits["train"].speech_tokens,
        "longest_document": max(split.longest for split in info.splits.values()),
        "replies": len(dialogues.replies),
        "skipped": num_skipped,
    }


def vocabulary_folder(path: str) -> str:
    """``path`` itself, or the vocabulary in it where it is the run folder of lm.vocabulary."""
    from pathlib import Path

    inner = Path(path) / "vocabulary"
    return str(inner) if inner.is_dir() else path


def reply_voice(items: list[TokenisedUtterance], subject: str) -> str:
    """The voice that speaks most of the replies; the first by name among equals."""
    counts = Counter(item.speaker for item in items if item.kind == REPLY)
    if not counts:
        remedy = 'the training split needs replies (kind "reply") in one voice: build the corpus again'
        raise UserError(subject, found="no spoken reply", remedy=remedy)
    return min(counts, key=lambda speaker: (-counts[speaker], speaker))


def spoken_replies(items: list[TokenisedUtterance], voice: str, subject: str) -> dict[str, npt.NDArray[np.uint16]]:
    """Reply text -> its speech tokens in ``voice`` (the first recording of several)."""
    from corpus.text import normalise

    replies: dict[str, npt.NDArray[np.uint16]] = {}
    for item in items:
        if item.kind == REPLY and item.speaker == voice and len(item.tokens):
            replies.setdefault(normalise(item.text), item.tokens)
    if not replies:
        known = ", ".join(sorted({item.speaker for item in items if item.kind == REPLY}))
        found = f"no reply in the voice {voice!r}"
        raise UserError(subject, found=found, remedy=f"choose voice= among {known or 'voices with replies'}")
    return replies


STAGE = Stage(
    name="chatbot.prepare",
    config=PrepareConfig,
    run=run,
    summary="Spoken questions and replies -> the LM corpus that fine-tunes a spoken chatbot.",
    inputs=lambda config: [config.corpus, config.tokens, config.vocabulary],
    example="corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens "
    "vocabulary=runs/quickstart/vocabulary out=runs/quickstart/chat_data",
)

if __name__ == "__main__":
    STAGE.exit()
