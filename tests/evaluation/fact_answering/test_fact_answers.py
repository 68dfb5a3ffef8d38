"""Answers to questions about made-up facts: a model that hears and knows, but does not answer speech, is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation import fact_answers
from evaluation.fact_answering.config import FactAnswersConfig
from evaluation.fact_answering.ways import begun
from lm.data.formats import asr_document, interleaved_document, text_document
from lm.data.vocabulary import Vocabulary
from runtime.artefact import write_text
from runtime.errors import UserError
from tests.support.small_speech_model import CODES, SmallModel, save_small_llama

FACTS = (("where is paris", "it is in the box"), ("where is france", "it is in the ball"))
SOUNDS = [np.arange(start, start + 6, dtype=np.uint16) % CODES for start in (0, 9)]
INSTEAD, BEGUN = "the capital is now.", "it is in the ball."  # after speech: by itself; when the answer is begun
HEARD = ("where is paris", "where is paris")  # the second question is misheard as the first


def write_sets(folder: Path, fingerprint: str) -> Path:
    """Each question before two false replies, as evaluation.fact_set writes them."""
    lines = []
    for (asked, reply), codes, group in zip(FACTS, SOUNDS, ("interleaved", "text"), strict=True):
        for number in range(2):
            context = {"id": f"{asked}-context", "text": f"{asked}.", "tokens": codes.tolist()}
            own = {"id": f"{asked}-{number}", "subset": f"questions.{group}", "cluster": asked.split()[-1]}
            answers = {"correct": f"{reply}.", "incorrect": f"it is in the {'abc'[number]}."}
            lines.append(json.dumps(own | answers | {"context": context, "tokenizer": fingerprint}) + "\n")
    write_text(folder / "questions.jsonl", "".join(lines))
    return folder


def trained(folder: Path, vocabulary: Vocabulary) -> Path:
    """A model that knows both facts in text, mishears one question, and after a spoken one says something else."""
    from transformers import LlamaForCausalLM

    save_small_llama(folder, vocabulary, max_positions=128)
    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(folder)
    documents = []
    for (asked, reply), heard, codes in zip(FACTS, HEARD, SOUNDS, strict=True):
        documents.append(text_document(f"{asked}. {reply}.", vocabulary))
        documents.append(asr_document(codes, heard, vocabulary))
        documents += [interleaved_document([codes, INSTEAD], vocabulary)] * 2
        documents.append(interleaved_document([codes, BEGUN], vocabulary))
    longest = max(map(len, documents))
    ids_BT = torch.tensor([[*one, *[vocabulary.pad] * (longest - len(one))] for one in documents])
    labels_BT = torch.where(ids_BT == vocabulary.pad, -100, ids_BT)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        model(input_ids=ids_BT, labels=labels_BT).loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder


def test_hearing_and_knowing_are_apart(small: SmallModel, tmp_path: Path) -> None:
    sets = write_sets(tmp_path / "sets", small.vocabulary.speech_fingerprint)
    model = trained(tmp_path / "model", small.vocabulary)
    options: dict[str, Any] = {"sets": str(sets), "model": str(model), "questions": ["questions"], "max_new_tokens": 60}
    metrics = fact_answers.STAGE.execute(FactAnswersConfig(**options, out=str(tmp_path / "one")))
    assert metrics["questions"] == 2, "a question before two false replies is asked once"
    assert metrics["t2t.accuracy"] == 1 and metrics["heard.wer"] == pytest.approx(1 / 6, abs=1e-6)
    of_groups = [metrics[f"cascade.accuracy.questions.{group}"] for group in ("interleaved", "text")]
    assert of_groups == [1, 0], "it answers what it heard, not what was asked"
    assert metrics["s2t.accuracy"] == 0, "it goes on with another sentence"
    lines = [json.loads(line) for line in (tmp_path / "one/answers.jsonl").read_text().splitlines()]
    assert [one["s2t"] for one in lines] == [INSTEAD.removesuffix(".")] * 2
    assert [one["t2t_begun"] for one in lines] == ["box", "ball"] and metrics["t2t_begun.accuracy"] == 1
    assert [one["s2t_begun"] for one in lines] == ["ball", "ball"] and metrics["s2t_begun.accuracy"] == 0.5
    assert tuple(one["heard"] for one in lines) == HEARD
    items = [json.loads(line) for line in (tmp_path / "one/items.jsonl").read_text().splitlines()]
    assert {(one["subset"], one["cluster"]) for one in items} == {
        ("questions.interleaved", "paris"),
        ("questions.text", "france"),
    }
    assert metrics["heard.wer.questions.interleaved"] == 0 and metrics["t2t.accuracy.questions.interleaved"] == 1
    fact_answers.STAGE.execute(FactAnswersConfig(**options, batch_size=1, out=str(tmp_path / "two")))
    assert (tmp_path / "one/items.jsonl").read_bytes() == (tmp_path / "two/items.jsonl").read_bytes()


def test_the_beginning_stands_after_text_and_speech() -> None:
    assert begun(["where is paris."], "it is in the") == ["where is paris. it is in the"]
    codes = SOUNDS[0]
    assert begun([codes], "it is") == [codes, "it is"] and begun([codes, ""], "it is")[-1].strip() == "it is"


def test_speech_of_another_tokenizer_is_refused(small: SmallModel, tmp_path: Path) -> None:
    sets = write_sets(tmp_path / "sets", "0" * 16)
    options: dict[str, Any] = {"sets": str(sets), "model": str(small.folder), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match="speech tokenizer"):
        fact_answers.STAGE.execute(FactAnswersConfig(**options, questions=["questions"]))
    with pytest.raises(UserError, match="no such file"):
        fact_answers.STAGE.execute(FactAnswersConfig(**options, questions=["new_questions"]))
