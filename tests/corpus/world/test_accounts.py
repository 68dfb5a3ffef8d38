"""Accounts: long replies in the world's words, and held-out situations that no training data tells."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from corpus.accounts import STAGE
from corpus.manifest import read_manifest
from corpus.world.account_config import AccountCorpusConfig
from corpus.world.accounts import ASKED, SITUATIONS, Account, draw_accounts, situations_in, slot_words
from corpus.world.closed_world import World
from corpus.world.questions import read_questions
from lm.data.reply_format import ReplyFormat
from runtime.artefact import file_digest
from runtime.errors import UserError
from tests.support.small_accounts import write_small_corpus

SMALL = {"accounts": 8, "heldout_accounts": 4}


@pytest.fixture(scope="module")
def accounts() -> list[Account]:
    return list(itertools.islice(draw_accounts(SITUATIONS, random.Random(1)), 400))


def test_every_word_is_the_worlds(accounts: list[Account]) -> None:
    known = set(World().vocabulary)
    assert {word for one in accounts for word in f"{one.request} {one.reply}".split()} <= known
    assert len({one.request for one in accounts}) == len(accounts)


def test_a_reply_tells_its_situation_and_what_the_request_tells(accounts: list[Account]) -> None:
    assert situations_in(f"{one.reply}." for one in accounts) == {one.situation for one in accounts}
    for one in accounts:
        assert set(slot_words(one.reply)) == set(slot_words(one.statement)) >= set(one.situation)
        assert one.asked in ASKED and one.reply.split()[-1] in slot_words(one.statement)
    assert situations_in([accounts[0].reply]) == {accounts[0].situation}
    assert {one.topic for one in accounts[:2]} == {"put", "moved"}


def test_a_reply_alternates_at_least_twice(accounts: list[Account]) -> None:
    for one in accounts:  # each word of the world is a token of the quickstart's vocabulary
        blocks = ReplyFormat(kind="streaming").blocks(len(one.reply.split()), 80)
        assert blocks[:2] == [(13, 26), (13, 26)] and len(blocks) == 3


def test_the_stage_holds_situations_out(tmp_path: Path) -> None:
    heard = " ".join(situation.sentence("left") + "." for situation in SITUATIONS[: len(SITUATIONS) // 2])
    corpus = str(write_small_corpus(tmp_path / "corpus", heard))
    metrics = STAGE.execute(AccountCorpusConfig(corpus=corpus, out=str(tmp_path / "one"), workers=1, **SMALL))
    STAGE.execute(AccountCorpusConfig(corpus=corpus, out=str(tmp_path / "two"), workers=2, **SMALL))
    for name in ("audio", "questions.jsonl", "train.jsonl", "sentences.txt"):
        assert file_digest(tmp_path / "one" / name) == file_digest(tmp_path / "two" / name)
    assert (metrics["accounts.train"], metrics["accounts.heldout"]) == (8, 4)
    train, held_out = (
        read_manifest(tmp_path / f"one/{split}.jsonl").utterances for split in ("train", "heldout_sentence")
    )
    told = situations_in([heard, *(one.text for one in train)])
    unheard = situations_in(one.text for one in held_out)
    assert len(unheard) == 4 and not told & unheard
    assert {(one.kind, one.speaker) for one in [*train, *held_out]} == {
        ("question", "espeak-m1"),
        ("reply", "espeak-f2"),
    }
    questions = read_questions(tmp_path / "one")
    known = set((tmp_path / "one/sentences.txt").read_text().splitlines())
    for split, spoken in (("train", train), ("heldout", held_out)):
        asked = [questions[one.text] for one in spoken if one.kind == "question"]
        assert {one.split for one in asked} == {split} and {one.reply for one in asked} <= known
        assert {one.reply for one in asked} == {one.text for one in spoken if one.kind == "reply"}


def test_a_corpus_that_tells_nearly_all_situations_is_refused(tmp_path: Path) -> None:
    told = " ".join(situation.sentence("put") + "." for situation in SITUATIONS[3:])
    corpus = str(write_small_corpus(tmp_path / "corpus", told))
    with pytest.raises(UserError, match="leaves 3 situations untold"):
        STAGE.execute(AccountCorpusConfig(corpus=corpus, out=str(tmp_path / "out"), **SMALL))
