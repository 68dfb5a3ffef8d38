"""The corpus of accounts: requests in many voices, replies in one; training tells no held-out situation."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.manifest import write_manifest
from corpus.text.normalisation import join_sentences
from runtime.artefact import read_json, write_json, write_text
from runtime.errors import UserError, check_option
from runtime.stage import Run

from .account_config import AccountCorpusConfig
from .accounts import SITUATIONS, Account, draw_accounts, situations_in
from .fact_corpus import speak, texts_of_corpus
from .plan import HELD_OUT_SENTENCE, TRAIN, PlannedUtterance, voices_in_turn
from .voices import SEEN, VoiceList, WorldVoice, read_voices

SPLITS = {TRAIN: "train", HELD_OUT_SENTENCE: "heldout"}  # of utterances -> of questions


def build_account_corpus(config: AccountCorpusConfig, run: Run) -> dict[str, Any]:
    """Compose and speak requests and replies, and write the lists; returns the metrics.

    Raises:
        UserError: no corpus, or one that tells too many situations.
    """
    corpus, voices = Path(config.corpus), read_voices(config.corpus)
    accounts = compose(config, corpus)
    planned = [
        one for split, own in accounts.items() for one in plan_utterances(split, own, voices, run.folder, config.seed)
    ]
    prompts = [one.prompt for one in planned]
    durations = speak(prompts, run, room=config.room, seed=config.seed, workers=config.workers)
    counts: dict[str, Any] = {}
    for split in SPLITS:
        own = [one for one in planned if one.split == split]
        write_manifest(run.folder / f"{split}.jsonl", [one.spoken(durations) for one in own])
        counts[f"num_utterances.{split}"] = len(own)
    lines = [question_line(split, number, one) for split, own in accounts.items() for number, one in enumerate(own)]
    write_text(run.folder / "questions.jsonl", "".join(lines))
    write_sentences(run.folder / "sentences.txt", corpus, list(itertools.chain(*accounts.values())))
    write_json(run.folder / "voices.json", read_json(corpus / "voices.json"))
    lengths = [len(account.reply.split()) for own in accounts.values() for account in own]
    return {
        **{f"accounts.{SPLITS[split]}": len(own) for split, own in accounts.items()},
        **counts,
        "fewest_words_of_a_reply": min(lengths),
        "most_words_of_a_reply": max(lengths),
        "hours": round(sum(durations.values()) / 3600, 3),
    }


def compose(config: AccountCorpusConfig, corpus: Path) -> dict[str, list[Account]]:
    """The accounts of each split: those held out are of situations that no text and no speech of training tells."""
    told = situations_in(text for file, text in texts_of_corpus(corpus) if "heldout" not in Path(file).stem)
    rng = random.Random(f"accounts {config.seed}")
    free = [situation for situation in SITUATIONS if situation not in told]
    found = f"{config.heldout_accounts}, but the corpus leaves {len(free)} situations untold"
    if len(free) < config.heldout_accounts:
        raise UserError("option heldout_accounts", found=found, remedy="ask for fewer, or build a smaller corpus")
    held_out = rng.sample(free, config.heldout_accounts)
    unheard = set(held_out)
    rest = [situation for situation in SITUATIONS if situation not in unheard]
    return {
        TRAIN: list(itertools.islice(draw_accounts(rest, rng), config.accounts)),
        HELD_OUT_SENTENCE: list(itertools.islice(draw_accounts(held_out, rng), config.heldout_accounts)),
    }


def plan_utterances(
    split: str, accounts: Sequence[Account], voices: VoiceList, folder: Path, seed: int
) -> list[PlannedUtterance]:
    """A request and a reply of each account; the seen voices ask, in turn and random order; the answer voice replies.

    Raises:
        UserError: the corpus's only voice is the answer voice, which has no room.
    """
    seen = [voice for voice in voices.voices if voice.role == SEEN]
    check_option(bool(seen), "corpus", "one training voice", "give a corpus of several (corpus.build seen_voices=)")
    turns = voices_in_turn(seen, len(accounts), f"account voices {seed} {split}")
    answer = voices.trainable()

    def planned(kind: str, number: int, text: str, spoken: str, voice: WorldVoice) -> PlannedUtterance:
        id = f"account-{split}-{kind}-{number:05d}"
        return PlannedUtterance.by_voice(voice, folder / "audio", id, spoken, split=split, kind=kind, text=text)

    requests = [
        planned("question", number, one.request, f"{one.statement}, {one.asked}?", voice)
        for number, (one, voice) in enumerate(zip(accounts, turns, strict=True))
    ]
    distinct = {one.reply: one for one in accounts}
    replies = [
        planned("reply", number, reply, join_sentences(list(one.sentences)), answer)
        for number, (reply, one) in enumerate(distinct.items())
    ]
    return [*requests, *replies]


def question_line(split: str, number: int, account: Account) -> str:
    """A line of ``questions.jsonl``, as corpus.build writes it: a request, its reply, and the word that it ends in."""
    record = {
        "id": f"{account.topic}-{SPLITS[split]}-{number:05d}",
        "question": account.request,
        "answer": account.reply.split()[-1],
        "reply": account.reply,
        "topic": account.topic,
        "split": SPLITS[split],
    }
    return json.dumps(record) + "\n"


def write_sentences(file: Path, corpus: Path, accounts: Sequence[Account]) -> None:
    """The sentences that the judge's language model knows: those of the corpus, and all replies.

    Raises:
        UserError: the corpus has none.
    """
    given = corpus / "sentences.txt"
    if not given.is_file():
        raise UserError(str(given), found="no such file", remedy="give the output folder of corpus.build")
    sentences = {*given.read_text(encoding="utf-8").splitlines(), *(account.reply for account in accounts)}
    write_text(file, "".join(f"{sentence}\n" for sentence in sorted(sentences)))
