from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chatbot.data.dialogue_files import Dialogue, DialogueFingerprints, DialogueTurn, write_dialogues
from chatbot.data.question_dialogues import asked_dialogues, spoken_replies
from chatbot.prepare import STAGE
from corpus.text.spoken_words import spoken_words
from corpus.tokens import TokenisedUtterance, read_tokens, write_tokens
from corpus.world.dialogues import QuestionDialogue, QuestionTurn, dialogue_line
from corpus.world.questions import QuestionAnswer
from lm.data.corpora import open_corpus
from lm.data.formats import ChatTurn, chat_document
from lm.data.loss_mask import loss_mask
from lm.data.rendering import render
from lm.data.reply_format import ReplyFormat
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .conftest import CAPITALS, make_vocabulary, prepare_config


def vocabulary(chain: Path) -> Vocabulary:
    return Vocabulary.from_pretrained(chain / "vocabulary" / "vocabulary")


def test_every_spoken_question_becomes_one_turn(chain: Path) -> None:
    v = vocabulary(chain)
    info = open_corpus(chain / "chat_data" / "chat", v)
    assert info.format == "chat"
    assert info.provenance["voice"] == "anna"
    train, valid = list(info.documents("train")), list(info.documents("valid"))
    assert len(train) == len(valid) == 2 * len(CAPITALS)
    spoken = read_tokens(chain / "tokens" / "train.parquet").items
    question = next(item for item in spoken if item.kind == "question")
    reply = next(item for item in spoken if item.kind == "reply")
    document = train[0]
    codes = v.codes(document)
    assert np.array_equal(codes, np.concatenate([question.tokens, reply.tokens]))
    shown = render(document, v)
    said = "<|transcript|> what is the capital of france <|assistant|> the capital of france is paris <|begin_of_audio"
    assert said in shown, shown
    mask = loss_mask(document, v)
    counted = document[mask == 1]
    assert np.array_equal(v.codes(counted), reply.tokens), "the question's speech is not learnt, the reply's is"
    assert v.decode_text(counted) == "what is the capital of france the capital of france is paris"


def test_replies_of_held_out_questions_may_be_spoken_in_the_held_out_split(chain: Path, tmp_path: Path) -> None:
    splits = {name: read_tokens(chain / "tokens" / f"{name}.parquet") for name in ("train", "heldout_sentence")}
    train, held_out = (list(splits[name].items) for name in splits)
    moved = next(item for item in train if item.kind == "reply")
    asked = moved.text.split()[3]  # of the capital of this country
    train = [item for item in train if item is not moved and not (item.kind == "question" and asked in item.text)]
    for name, items in (("train", train), ("heldout_sentence", [*held_out, moved])):
        one = splits[name]
        marks = {"tokenizer": one.tokenizer, "codebook_size": one.codebook_size, "frame_rate": one.frame_rate}
        write_tokens(tmp_path / "tokens" / f"{name}.parquet", items, **marks)
    config = prepare_config(chain, tokens=str(tmp_path / "tokens"), out=str(tmp_path / "out"))
    metrics = STAGE.execute(config)
    assert (metrics["train_documents"], metrics["valid_documents"], metrics["skipped"]) == (6, 8, 0)


def test_takes_of_the_questions_come_besides_and_replies_stay(chain: Path, tmp_path: Path) -> None:
    v = vocabulary(chain)
    whole = read_tokens(chain / "tokens" / "train.parquet")
    taken = [replace(item, tokens=(item.tokens[::-1] + 1) % whole.codebook_size) for item in whole.items]
    marks = {"codebook_size": whole.codebook_size, "frame_rate": whole.frame_rate}
    write_tokens(tmp_path / "take" / "train.parquet", taken, tokenizer=whole.tokenizer, **marks)
    write_tokens(tmp_path / "alien" / "train.parquet", taken, tokenizer="another", **marks)
    out = str(tmp_path / "out")
    metrics = STAGE.execute(prepare_config(chain, out=out, takes=[str(tmp_path / "take")]))
    assert (metrics["train_documents"], metrics["valid_documents"]) == (4 * len(CAPITALS), 2 * len(CAPITALS))
    reply = next(item for item in whole.items if item.kind == "reply")
    number, question = next((n, item) for n, item in enumerate(whole.items) if item.kind == "question")
    documents = list(open_corpus(tmp_path / "out" / "chat", v).documents("train"))
    for at, heard in ((0, question.tokens), (2 * len(CAPITALS), taken[number].tokens)):
        np.testing.assert_array_equal(v.codes(documents[at]), np.concatenate([heard, reply.tokens]))
    with pytest.raises(UserError, match="alien"):
        STAGE.execute(prepare_config(chain, out=str(tmp_path / "no"), takes=[str(tmp_path / "alien")]))
    with pytest.raises(UserError, match=r"takes: found .* give corpus and tokens"):
        prepare_config(chain, corpus="", tokens="", dialogues="some", takes=["take"])


def test_questions_of_a_dialogue_are_put_together(chain: Path, tmp_path: Path) -> None:
    v = vocabulary(chain)
    spoken = {item.id: item for item in read_tokens(chain / "tokens" / "train.parquet").items}
    asked = [item for item in spoken.values() if item.kind == "question" and item.speaker == "bert"][:3]
    shutil.copytree(chain / "corpus", tmp_path / "corpus")
    file = tmp_path / "corpus" / "dialogues.jsonl"

    def turn(item: TokenisedUtterance, reply: str) -> QuestionTurn:
        return QuestionTurn(item.id, item.text, reply.split()[-1], reply, "capital", "first")

    replies = [f"the capital of {country} is {capital}" for country, capital in CAPITALS.items()]
    whole = QuestionDialogue("a", [turn(*pair) for pair in zip(asked, replies, strict=False)])
    unspoken = QuestionDialogue("b", [turn(asked[0], replies[0]), turn(asked[1], "it is oslo")])
    lost = QuestionDialogue("c", [replace(whole.turns[0], utterance="nobody")])
    file.write_text("".join(dialogue_line(one) + "\n" for one in (whole, unspoken, lost)))
    options = {"corpus": str(tmp_path / "corpus"), "multi_turn": True, "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match="1 with no spoken reply, 1 with no tokens of a question"):
        STAGE.execute(prepare_config(chain, **options))
    metrics = STAGE.execute(prepare_config(chain, **options, max_skipped_share=0.3))
    assert (metrics["skipped"], metrics["train_documents"], metrics["valid_documents"]) == (2, 1, 8)
    (document,) = open_corpus(tmp_path / "out" / "chat", v).documents("train")
    says = {item.text: item.tokens for item in spoken.values() if item.kind == "reply"}
    turns = [ChatTurn(one.tokens, reply, says[reply], one.text) for one, reply in zip(asked, replies, strict=False)]
    np.testing.assert_array_equal(document, chat_document(turns, v))
    with pytest.raises(UserError, match=r"multi_turn: found True.*give corpus and tokens"):
        prepare_config(chain, corpus="", tokens="", dialogues="some", multi_turn=True)


def test_the_transcript_may_be_left_out(chain: Path, tmp_path: Path) -> None:
    STAGE.execute(prepare_config(chain, out=str(tmp_path / "out"), transcribe_first=False))
    v = vocabulary(chain)
    for document in open_corpus(tmp_path / "out" / "chat", v).documents("train"):
        assert v.special("transcript") not in document
        assert v.decode_text(document).startswith("the capital of")


def test_questions_without_spoken_reply_are_counted(chain: Path, tmp_path: Path) -> None:
    whole = read_tokens(chain / "tokens" / "train.parquet")
    for split in ("train", "heldout_sentence"):
        speech = read_tokens(chain / "tokens" / f"{split}.parquet")
        kept = [item for item in speech.items if not (item.kind == "reply" and "paris" in item.text)]
        write_tokens(
            tmp_path / "tokens" / f"{split}.parquet",
            kept,
            tokenizer=whole.tokenizer,
            codebook_size=whole.codebook_size,
            frame_rate=12.5,
        )
    changes = {"tokens": str(tmp_path / "tokens"), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match="of 16 dialogues 4 with no spoken reply"):
        STAGE.execute(prepare_config(chain, **changes))
    metrics = STAGE.execute(prepare_config(chain, **changes, max_skipped_share=0.3))
    assert (metrics["skipped"], metrics["train_documents"], metrics["valid_documents"]) == (4, 6, 6)


def test_dialogues_may_come_from_files(chain: Path, tmp_path: Path) -> None:
    v = vocabulary(chain)
    codes = np.array([1, 2, 3], dtype=np.uint16)
    question = DialogueTurn(role="user", text="what is the capital", tokens=codes, speaker="bert")
    reply = DialogueTurn(role="assistant", text="madrid", tokens=codes, speaker="bert")
    marks = DialogueFingerprints(tokenizer=v.speech_fingerprint, codebook_size=v.num_speech_tokens)
    file = tmp_path / "dialogues.jsonl"
    write_dialogues(file, [Dialogue(id="a", turns=[question, reply] * 2)], marks)
    options = {"out": str(tmp_path / "out"), "dialogues": str(file), "format": "streaming", "transcribe_first": False}
    alone = {"corpus": "", "tokens": ""}
    metrics = STAGE.execute(prepare_config(chain, **alone, **options))
    assert (metrics["train_documents"], metrics["valid_documents"], metrics["spoken"]) == (1, 0, 1)
    info = open_corpus(tmp_path / "out" / "chat", v)
    assert info.provenance["plain_words"] is True
    assert info.provenance["voice"] == "bert" and info.provenance["format"] == "streaming"
    (document,) = info.documents("train")
    turns = [ChatTurn(codes, "madrid", codes)] * 2
    np.testing.assert_array_equal(document, chat_document(turns, v, format=ReplyFormat(kind="streaming")))
    both = {"dialogues": str(file), "dialogues_heldout": str(file), "out": str(tmp_path / "both"), "typed_share": 0.5}
    metrics = STAGE.execute(prepare_config(chain, **both))
    assert (metrics["spoken"], metrics["typed"], metrics["valid_documents"]) == (18, 18, 18)
    write_dialogues(
        file, [Dialogue(id="a", turns=[question, reply])], DialogueFingerprints(tokenizer="another", codebook_size=4)
    )
    with pytest.raises(UserError, match="tokens of speech tokenizer another"):
        STAGE.execute(prepare_config(chain, **alone, **options))


def test_mistakes_are_named(chain: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(UserError, match=r"dialogues: found ''. give dialogues, or corpus and tokens"):
        prepare_config(chain, corpus="", tokens="")
    with pytest.raises(UserError, match="give corpus and tokens together"):
        prepare_config(chain, tokens="")
    with pytest.raises(UserError, match=r"format: found 'both'"):
        prepare_config(chain, format="both")
    with pytest.raises(UserError, match=r"no reply in the voice 'bert'.*among anna"):
        STAGE.execute(prepare_config(chain, out=out, voice="bert"))
    make_vocabulary("another").save_pretrained(tmp_path / "vocabulary")
    with pytest.raises(UserError, match="the vocabulary is of another"):
        STAGE.execute(prepare_config(chain, out=out, vocabulary=str(tmp_path / "vocabulary")))
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "a"}))
    with pytest.raises(UserError, match="line 1: no 'question'"):
        STAGE.execute(prepare_config(chain, out=out, corpus=str(tmp_path)))


def test_questions_are_found_by_what_is_said(chain: Path) -> None:
    """A question with numbers in figures and its recording with them in words are the same."""
    asked = QuestionAnswer(
        id="q", question="What is 5 + 6?", answer="11", reply="It is 11.", topic="sum", split="train"
    )
    tokens = np.arange(4, dtype=np.uint16)
    items = [
        TokenisedUtterance("a", tokens, "what is five plus six", 0.4, "bert", kind="question"),
        TokenisedUtterance("b", tokens, "it is eleven", 0.4, "anna", kind="reply"),
    ]
    questions = {spoken_words(asked.question): asked}
    replies, skipped = spoken_replies(items, "anna", "tokens"), Counter[str]()
    (dialogue,) = asked_dialogues(items, questions, replies, "anna", skipped)
    assert [turn.text for turn in dialogue.turns] == ["what is five plus six", "It is 11."] and not skipped
