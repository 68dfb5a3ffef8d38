"""Requests in a base model's own chat template: transformers' ids, speech in its place, the targets' places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.chat_template import our_template
from lm.data.clips import ClipDocument
from lm.data.corpora import open_corpus, write_corpus
from lm.data.dataset import build_training_data
from lm.data.formats import ChatTurn, chat_document
from lm.data.request_format import AnsweredRequest, OwnFormat, TemplateFormat, generation_end_ids, request_format
from lm.data.vocabulary import Vocabulary
from lm.data.vocabulary_config import VocabularyConfig
from lm.generate import main
from lm.vocabulary import STAGE as VOCABULARY
from runtime.errors import UserError
from tests.support.instruct_model import BEGUN, CHATML, save_instruct_model
from tests.support.small_speech_model import save_small_llama

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


def test_exchanges_stand_before_the_request(base: tuple[Vocabulary, Any, str], tiny: Any) -> None:
    vocabulary, tokenizer, _ = base
    roles = ["system", "user", "assistant", "user"]
    contents = ["be short", "who?", "anna", "and now?"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    shots = [AnsweredRequest("who?", "anna")]
    assert request_format(vocabulary).prompt("and now?", system="be short", shots=shots).tolist() == list(wanted)
    with pytest.raises(UserError, match="the special token"):
        request_format(vocabulary).prompt("and now?", shots=[AnsweredRequest("who?", "<|im_end|>")])
    own = tiny.vocabulary  # our format: the dialogue so far, without its EOS
    document = chat_document([ChatTurn("ka", "ki"), ChatTurn("lo", "")], own, system="de").tolist()
    found = request_format(own).prompt("lo", system="de", shots=[AnsweredRequest("ka", "ki")]).tolist()
    assert found == document[: len(found)] and found[-1] == own.special("assistant")


def test_templates_of_parts_alone(base: tuple[Vocabulary, Any, str]) -> None:
    """As of models that see: contents are written only where they are lists."""
    vocabulary, _, _ = base
    parts = CHATML.replace(
        "message['content'] | trim",
        "(message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join | trim)",
    )
    assert parts != CHATML
    found, plain = TemplateFormat(vocabulary, parts), TemplateFormat(vocabulary, CHATML)
    content = ("Repeat this: ", np.zeros(3, dtype=np.uint16))
    assert found.prompt(content, system="be short").tolist() == plain.prompt(content, system="be short").tolist()
    assert found.end_ids == plain.end_ids


def test_a_generation_ends_where_the_template_ends_a_turn(base: tuple[Vocabulary, Any, str], tiny: Any) -> None:
    vocabulary, tokenizer, end = base
    ends = [*vocabulary.end_ids, tokenizer.convert_tokens_to_ids(end)]
    assert generation_end_ids(vocabulary) == list(dict.fromkeys(ends))
    assert generation_end_ids(vocabulary, "") == vocabulary.end_ids
    assert generation_end_ids(vocabulary, our_template(vocabulary)) == vocabulary.end_ids
    assert generation_end_ids(tiny.vocabulary) == tiny.vocabulary.end_ids


def test_the_command_line_stops_at_the_end_of_a_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lm generate` of an exported model whose EOS is another token than the one that ends an answer."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    save_instruct_model(tmp_path / "base", TEXTS, template=BEGUN, eos="<|end|>")
    vocabulary = grow(tmp_path / "grown", tmp_path / "base")
    save_small_llama(tmp_path / "model", vocabulary, max_positions=256)
    given = [str(tmp_path / "model"), "--task", "chat", "--text", "who?", "--allowed", "text", "--json"]

    def generated() -> dict[str, Any]:
        assert main([*given, "--max-new-tokens", "12"]) == 0
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    before = generated()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    messages = [{"role": "user", "content": "who?"}]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert before["prompt"] == list(wanted)
    end = tokenizer.convert_tokens_to_ids("<|eot|>")
    first = next(at for at, id in enumerate(before["ids"]) if at and id not in before["ids"][:at])
    model: Any = LlamaForCausalLM.from_pretrained(tmp_path / "model")
    rows = [before["ids"][first], end]
    with torch.no_grad():
        model.lm_head.weight[rows] = model.lm_head.weight[rows[::-1]].clone()  # at that place the end is the likeliest
    model.save_pretrained(tmp_path / "model")
    assert generated()["ids"] == [*before["ids"][:first], end]


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
