"""The fine-tuning corpus of a chatbot: the dialogues of all sources, as LM documents of format chat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from corpus.clip_job import ClipJob
from corpus.features import StoredFeatures
from corpus.manifest import BadRecord, list_bad_records, read_manifest
from corpus.world.dialogues import read_question_dialogues
from corpus.world.questions import read_questions
from lm.data.clips import ClipDocument
from lm.data.corpora import CorpusInfo, write_corpus
from lm.data.formats import Ids
from lm.data.readers import read_split
from lm.data.vector_config import VECTORS
from lm.data.vocabulary import Vocabulary
from runtime.artefact import artefact_folder
from runtime.errors import UserError
from runtime.stage import Run

from .clip_documents import ClipDialogueDocuments, QuestionClips, recordings
from .dialogue_files import Dialogue, is_dialogue_file, read_dialogues
from .lm_documents import DialogueDocuments
from .prepare_config import ChatPrepareConfig
from .question_dialogues import SpokenItem, asked_dialogues, joined_dialogues, reply_voice, spoken_replies
from .text_dialogues import read_text_dialogues

Document = TypeVar("Document", Ids, ClipDocument)
SPLITS = {"train": "train", "valid": "heldout_sentence"}


def prepare(config: ChatPrepareConfig, run: Run) -> dict[str, Any]:
    """Join questions with replies, read dialogues, and write the LM corpus."""
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
        needs_speech=config.is_spoken_reply,
    )
    provenance: dict[str, Any] = {
        "voice": sources.voice,
        "transcribe_first": config.transcribe_first,
        "format": config.format,
        "text_block": config.text_block,
        "speech_block": config.speech_block,
        "system": config.system,
    }
    with run.progress(1, "chat corpus", unit="corpus") as bar:
        write = write_clip_corpus if config.speech == VECTORS else write_token_corpus
        info = write(config, run, sources, maker, provenance)
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


def write_token_corpus(
    config: ChatPrepareConfig, run: Run, sources: Sources, maker: DialogueDocuments, provenance: dict[str, Any]
) -> CorpusInfo:
    """Write ``<out>/chat`` of dialogues in speech tokens."""
    provenance["speech"] = [one for one in (config.tokens, *config.takes, config.dialogues) if one]
    train, valid = (maker.documents(sources.dialogues[split]) for split in SPLITS)
    folder = run.folder / "chat"
    return write_corpus(folder, "chat", maker.vocabulary, train, noting(valid, maker, provenance), provenance)


def write_clip_corpus(
    config: ChatPrepareConfig, run: Run, sources: Sources, maker: DialogueDocuments, provenance: dict[str, Any]
) -> CorpusInfo:
    """Write ``<out>/chat`` of dialogues whose questions are clips; recordings left out are listed."""
    provenance["speech"] = [one for one in (config.corpus, config.vectors.features, config.dialogues) if one]
    clips = QuestionClips(config.vectors, maker.vocabulary)
    search = ClipJob(run.folder / "clips", config, run, max_seconds=config.vectors.max_seconds)
    of_clips = ClipDialogueDocuments(maker, clips)
    asked = Sources(config, maker.vocabulary)  # read twice, and not held: there may be many
    train, valid = (
        of_clips.documents(sources.dialogues[split], search.of_requests(split, recordings(asked.dialogues[split])))
        for split in SPLITS
    )
    valid = noting(valid, maker, provenance)
    folder = run.folder / "chat"
    info = write_corpus(folder, "chat", maker.vocabulary, train, valid, provenance, clips=clips.record)
    list_bad_records(run.folder, of_clips.bad)
    search.tidy()
    return info


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
        of_vectors = config.speech == VECTORS
        if config.corpus and of_vectors:
            self._add_recorded_questions(config, parts)
        elif config.corpus:
            self._add_questions(config, vocabulary, parts)
        for split, path in (("train", config.dialogues), ("valid", config.dialogues_heldout)):
            if path and of_vectors:
                parts[split].append(self._recorded(path, config.max_skipped_share))
            elif path:
                parts[split].append(self._read(path, config.max_skipped_share, vocabulary))
        self.dialogues = {split: chain(*parts[split]) for split in SPLITS}

    def _add_questions(
        self, config: ChatPrepareConfig, vocabulary: Vocabulary, parts: dict[str, list[Iterable[Dialogue]]]
    ) -> None:

        speech = {split: read_split(config.tokens, name) for split, name in SPLITS.items()}
        for one in speech.values():
            vocabulary.check_speech_tokenizer(one.tokenizer, config.tokens)
        takes = [read_split(folder, SPLITS["train"]) for folder in config.takes]
        for folder, one in zip(config.takes, takes, strict=True):
            vocabulary.check_speech_tokenizer(one.tokenizer, folder)
        replies = None
        if config.is_spoken_reply:
            self.voice = self.voice or reply_voice(speech["train"].items, config.tokens)
            # Those of held-out accounts are spoken in the held-out split.
            spoken = [*speech["train"].items, *speech["valid"].items]
            replies = spoken_replies(spoken, self.voice, config.tokens)
        questions = read_questions(config.corpus)
        asked = read_question_dialogues(Path(config.corpus) / "dialogues.jsonl") if config.multi_turn else []
        for split, one in [*speech.items(), *(("train", take) for take in takes)]:
            if config.multi_turn and split == "train":
                parts[split].append(joined_dialogues(one.items, asked, replies, self.voice, self.skipped))
            else:
                parts[split].append(asked_dialogues(one.items, questions, replies, self.voice, self.skipped))

    def _add_recorded_questions(self, config: ChatPrepareConfig, parts: dict[str, list[Iterable[Dialogue]]]) -> None:
        """Questions as recordings of the corpus, or as their stored vectors; replies are text."""
        questions = read_questions(config.corpus)
        asked = read_question_dialogues(Path(config.corpus) / "dialogues.jsonl") if config.multi_turn else []
        stored = StoredFeatures(config.vectors.features) if config.vectors.features else None
        for split, name in SPLITS.items():
            items: list[SpokenItem] = (
                [*stored.utterances(name)]
                if stored
                else [*read_manifest(Path(config.corpus, f"{name}.jsonl")).utterances]
            )
            if config.multi_turn and split == "train":
                parts[split].append(joined_dialogues(items, asked, None, "", self.skipped))
            else:
                parts[split].append(asked_dialogues(items, questions, None, "", self.skipped))

    def _recorded(self, path: str, max_bad_share: float) -> Iterator[Dialogue]:
        """Dialogues with recordings, of our files or of others' layouts."""
        if is_dialogue_file(path):
            found = read_dialogues(path, max_bad_share)
            self.skipped.update(record.reason for record in found.bad)
            yield from found.dialogues
            return
        for item in read_text_dialogues(path, takes_audio=True):
            if isinstance(item, BadRecord):
                self.skipped[item.reason] += 1
            else:
                yield item

    def _read(self, path: str, max_bad_share: float, vocabulary: Vocabulary) -> list[Dialogue]:

        found = read_dialogues(path, max_bad_share)
        if found.fingerprints.tokenizer:
            vocabulary.check_speech_tokenizer(found.fingerprints.tokenizer, path)
        speakers = Counter(reply.speaker for one in found.dialogues for reply in one.turns[1::2] if reply.speaker)
        self.voice = self.voice or min(speakers, key=lambda name: (-speakers[name], name), default="")
        self.skipped.update(record.reason for record in found.bad)
        return found.dialogues


def noting(documents: Iterable[Document], maker: DialogueDocuments, provenance: dict[str, Any]) -> Iterator[Document]:
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
