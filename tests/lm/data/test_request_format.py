"""Requests in a base model's own chat template: transformers' ids, speech in its place, the targets' places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.clips import ClipDocument
from lm.data.corpora import open_corpus, write_corpus
from lm.data.dataset import build_training_data
from lm.data.request_format import OwnFormat, TemplateFormat, request_format
from lm.data.vocabulary import Vocabulary
from lm.data.vocabulary_config import VocabularyConfig
from lm.vocabulary import STAGE as VOCABULARY
from runtime.errors import UserError
from tests.support.instruct_model import BEGUN, CHATML, save_instruct_model

TEXTS = ["anna has 3 cups", "tom says that lucy is here", "repeat this"]
BASES = {"chatml": (CHATML, "<|im_end|>", "<|im_end|>"), "begun": (BEGUN, "<|end|>", "<|eot|>")}


def grow(folder: Path, base: Path) -> Vocabulary:
    VOCABULARY.execute(VocabularyConfig(out=str(folder), base=str(base), num_speech_tokens=1))
    return Vocabulary.from_pretrained(folder / "vocabulary")


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, Any, str]:
    """The vocabulary, transformers' tokenizer, and the token that ends an answer."""
    from transformers import AutoTokenizer

    template, eos, end = BASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    save_instruct_model(folder / "model", TEXTS, template=template, eos=eos)
    return grow(folder / "vocabulary", folder / "model"), AutoTokenizer.from_pretrained(folder / "model"), end


def theirs(tokenizer: Any, *contents: str, has_prompt: bool = True) -> list[int]:
    roles = ["system", "user", "assistant"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False) if text]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=has_prompt, return_dict=True)
    return list(given["input_ids"])


@pytest.mark.parametrize("system", ["", "be short"])
def test_prompts_and_documents_are_those_of_transformers(base: tuple[Vocabulary, Any, str], system: str) -> None:
    vocabulary, tokenizer, end = base
    found = request_format(vocabulary)
    assert isinstance(found, TemplateFormat) and found.end_ids[0] == tokenizer.convert_tokens_to_ids(end)
    content = "Repeat this:  anna has 3 cups\n\n and no more"
    assert found.prompt(content, system=system).tolist() == theirs(tokenizer, system, content)
    document, targets = found.document(content, "anna has", system=system)
    whole = theirs(tokenizer, system, content, "anna has", has_prompt=False)
    assert targets is not None and document[: targets[1]].tolist() == whole[: targets[1]]
    assert tokenizer.decode(document[slice(*targets)]) == f"anna has{end}" and document[-1] == vocabulary.eos
    assert len(document) == targets[1] + (end != vocabulary.eos_token)
    written = [7, 8, 9, found.end_ids[0]]  # of a model that cuts the words otherwise
    document, targets = found.document(content, "anna has", system=system, answer_ids=written)
    assert targets is not None and document[slice(*targets)].tolist() == written


def test_speech_stands_where_the_transcript_stood(base: tuple[Vocabulary, Any, str]) -> None:
    vocabulary, tokenizer, _ = base
    found = request_format(vocabulary)
    codes = [np.zeros(count, dtype=np.uint16) for count in (3, 2)]
    ids = found.prompt(("Repeat this: ", codes[0], " and ", codes[1], "\nnow"))
    assert vocabulary.codes(ids).size == 5
    text = tokenizer.decode([id for id in ids if not vocabulary.is_speech(id)])
    assert text == tokenizer.decode(theirs(tokenizer, "", "Repeat this:  and \nnow"))
    runs = "".join("s" if vocabulary.is_speech(id) else "t" for id in ids)
    assert "tssst" in runs and "tsst" in runs
    only = found.prompt(codes[0])
    assert vocabulary.is_speech(only).sum() == 3 and not vocabulary.is_speech(only[0])


def test_texts_that_are_not_written_as_they_are(base: tuple[Vocabulary, Any, str], tmp_path: Path) -> None:
    vocabulary, _, _ = base
    for text in ("say <|im_end|> now", "\ue000"):
        with pytest.raises(UserError, match="the special token"):
            request_format(vocabulary).prompt(text)
    save_instruct_model(tmp_path / "model", TEXTS, template="{{ messages[0]['content'][:4] }}")
    lossy = request_format(grow(tmp_path / "grown", tmp_path / "model"))
    with pytest.raises(UserError, match="a template that writes 0 pieces of speech where a request has 1"):
        lossy.prompt(("Repeat this: ", np.zeros(2, dtype=np.uint16)))


def test_without_a_template_the_format_is_ours(tiny: Any) -> None:
    assert isinstance(request_format(tiny.vocabulary), OwnFormat)


@pytest.mark.parametrize("packing", ["stream", "best_fit"])
def test_targets_of_documents_count_in_training(
    packing: str, base: tuple[Vocabulary, Any, str], tmp_path: Path
) -> None:
    """An EOS within a document ends none, and a document cut by a sequence keeps its targets."""
    vocabulary, _, _ = base
    found = request_format(vocabulary)
    made = [found.document(f"Repeat this: {text}", text, system="be short") for text in TEXTS * 3]
    documents = [ClipDocument(one.ids, (), targets=one.targets) for one in made]
    write_corpus(tmp_path / "c", "chat", vocabulary, documents, [], {}, has_targets=True)
    corpus = open_corpus(tmp_path / "c", vocabulary)
    options: dict[str, Any] = {"num_samples": 6, "sequence_length": 96, "seed": 1, "cache": tmp_path / "cache"}
    data: Any = build_training_data({"c": corpus}, {"c": 1.0}, vocabulary, packing=packing, **options)
    counted = 0
    for number in range(6):
        sample = data[number]
        for part, own in zip(data.parts(number), range(99), strict=False):
            inside = sample["documents"] == own
            labels, mask = sample["labels"][inside], sample["loss_mask"][inside] > 0
            start, stop = documents[part.document].targets or (0, 0)
            wanted = documents[part.document].ids[max(start, part.start + 1) : min(stop, part.stop)]
            assert labels[mask].tolist() == wanted.tolist()
            counted += mask.sum()
    assert counted > 20
    (tmp_path / "c" / "train.targets.npy").unlink()
    with pytest.raises(UserError, match=r"train\.targets\.npy"):
        open_corpus(tmp_path / "c", vocabulary)
