"""Imitation of a text model with a chat template of its own: asked, written, measured in its very ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from imitation import ask, prepare
from imitation.ask_config import AskConfig
from imitation.pairs import read_pairs
from imitation.prepare_config import ImitationPrepareConfig
from lm.data.corpora import open_corpus
from lm.data.vocabulary import Vocabulary
from lm.data.vocabulary_config import VocabularyConfig
from lm.vocabulary import STAGE as VOCABULARY
from runtime.errors import UserError
from tests.support.instruct_model import BEGUN, save_instruct_model
from tests.support.stored_speech import save_stored_speech

TASKS = {
    "tasks": {
        "say": {"metric": "wer", "prompts": ["say it: {speech}", "{speech}\n\nsay that"], "max_new_tokens": 12},
        "first": {"metric": "accuracy", "prompts": ["the first of {speech}?"], "max_new_tokens": 12},
    }
}


def grow(folder: Path, base: Path) -> None:
    VOCABULARY.execute(VocabularyConfig(out=str(folder), base=str(base), num_speech_tokens=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("templates")
    texts = save_stored_speech(made, count=12)
    save_instruct_model(made / "model", texts)
    grow(made / "grown", made / "model")
    (made / "tasks.yaml").write_text(yaml.safe_dump(TASKS))
    asked = AskConfig(
        out=str(made / "pairs"), manifest=str(made / "m.jsonl"), tasks=str(made / "tasks.yaml"),
        model=str(made / "model"), requests_per_utterance=2, most_utterances=2, system="be exact", max_cut_share=1.0,
    )  # fmt: skip
    ask.STAGE.execute(asked)
    return made


def config(folder: Path, out: Path, **options: Any) -> ImitationPrepareConfig:
    from lm.data.vector_config import VectorsConfig

    given: dict[str, Any] = {"pairs": str(folder / "pairs"), "vocabulary": str(folder / "grown/vocabulary")} | options
    vectors = {"features": str(folder / "features")} if given.get("input", "speech") == "speech" else {}
    return ImitationPrepareConfig(out=str(out), vectors=VectorsConfig(**vectors), valid_share=0.0, **given)


def generated(folder: Path, text: str, limit: int) -> tuple[list[int], list[int]]:
    """Prompt and answer by transformers' own calls."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "model")
    model: Any = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    messages = [{"role": "system", "content": "be exact"}, {"role": "user", "content": text}]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = given["input_ids"]
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False, pad_token_id=0
        )
    return ids[0].tolist(), made[0, ids.shape[1] :].tolist()


def test_the_answer_s_tokens_are_those_that_the_model_wrote(folder: Path, tmp_path: Path) -> None:
    pairs = read_pairs(folder / "pairs").pairs
    metrics = prepare.STAGE.execute(config(folder, tmp_path, interleaved_share=1.0))
    vocabulary = Vocabulary.from_pretrained(folder / "grown/vocabulary")
    corpus = open_corpus(tmp_path / "imitation", vocabulary)
    assert metrics["documents"] == len(pairs) > 4 and metrics["interleaved"] > 0 and corpus.transcripts is not None
    targets, re_encoded = corpus.targets("train"), 0
    assert targets is not None
    documents = zip(corpus.documents("train"), corpus.transcripts.documents("train"), strict=True)
    for number, (pair, (heard, read)) in enumerate(zip(pairs, documents, strict=True)):
        prompt, answer = generated(folder, pair.with_transcript(pair.content), 12)
        whole = [*prompt, *answer, *([] if answer[-1] == vocabulary.eos else [vocabulary.eos])]
        assert read.tolist() == whole
        assert heard[slice(*targets[number])].tolist() == answer and heard[-1] == vocabulary.eos
        assert vocabulary.is_speech(heard).any() and not vocabulary.is_speech(read).any()
        re_encoded += vocabulary.encode_continuation(pair.response) != answer[:-1]
    assert re_encoded > 0  # its text alone would give others


def test_answers_of_an_endpoint_are_encoded_anew(folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pairs" / "pairs.jsonl").read_text().splitlines()]
    header = json.loads((folder / "pairs" / "pairs.json").read_text())
    (tmp_path / "pairs").mkdir()
    lines = [json.dumps(row | {"response_ids": [], "response": "anna has"}) + "\n" for row in rows]
    (tmp_path / "pairs" / "pairs.jsonl").write_text("".join(lines))
    (tmp_path / "pairs" / "pairs.json").write_text(json.dumps(header | {"first_prompt": []}))
    prepare.STAGE.execute(config(folder, tmp_path, pairs=str(tmp_path / "pairs"), input="text"))
    vocabulary = Vocabulary.from_pretrained(folder / "grown/vocabulary")
    corpus = open_corpus(tmp_path / "imitation", vocabulary)
    targets = corpus.targets("train")
    assert targets is not None
    for document, (start, stop) in zip(corpus.documents("train"), targets, strict=True):
        assert document[start:stop].tolist() == [*vocabulary.encode_continuation("anna has"), vocabulary.eos]


def test_another_template_than_that_of_the_pairs_is_refused(folder: Path, tmp_path: Path) -> None:
    save_instruct_model(tmp_path / "model", ["anna has 3 cups"], template=BEGUN)
    grow(tmp_path / "grown", tmp_path / "model")
    with pytest.raises(UserError, match="another chat template or tokenizer"):
        prepare.STAGE.execute(config(folder, tmp_path / "out", vocabulary=str(tmp_path / "grown/vocabulary")))


def test_a_text_model_without_a_template_is_refused(folder: Path, tmp_path: Path) -> None:
    save_instruct_model(tmp_path / "model", ["anna has 3 cups"], template="")
    (tmp_path / "model" / "chat_template.jinja").unlink(missing_ok=True)
    asked = AskConfig(
        out=str(tmp_path / "o"), manifest=str(folder / "m.jsonl"), tasks=str(folder / "tasks.yaml"),
        model=str(tmp_path / "model"),
    )  # fmt: skip
    with pytest.raises(UserError, match="without a chat template"):
        ask.STAGE.execute(asked)
