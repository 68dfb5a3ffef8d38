"""The work of evaluation.fact_answers: questions out of a set of choices, asked and scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.likelihood.choice_item import ChoiceItem
from evaluation.likelihood.choice_sets import BENCHMARKS, read_choice_set
from evaluation.rules.measure import PartMeasure, mean_score
from lm.inference.generation import Generator
from runtime.artefact import artefact_folder, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .config import FactAnswersConfig
from .ways import FactAnswer, FactAsking, FactQuestion

ANSWERS, ITEMS = "answers.jsonl", "items.jsonl"
UNIT = 256  # questions between two steps of the progress bar
Asked = list[tuple[FactQuestion, list[FactAnswer]]]


def answer_fact_questions(config: FactAnswersConfig, run: Run) -> dict[str, Any]:
    """Ask all questions, write answers and measures; returns ``<way>.<measure>`` and the same of each subset.

    Raises:
        UserError: no such set, or speech of another tokenizer than the model's.
    """
    torch.set_num_threads(config.threads)
    generator = Generator.from_pretrained(artefact_folder(config.model, "model"), batch_size=config.batch_size)
    questions = [one for name in config.questions for one in read_questions(config, name, generator)]
    asking, asked = FactAsking(generator, config.max_new_tokens), Asked()
    with run.progress(len(questions), "answers", unit="question") as bar:
        for start in range(0, len(questions), UNIT):
            unit = questions[start : start + UNIT]
            asked += zip(unit, asking.ask(unit), strict=True)
            bar.update(len(unit))
    write_text(run.folder / ANSWERS, "".join(answer_line(*one) for one in asked))
    write_text(run.folder / ITEMS, "".join(item_line(question, one) for question, own in asked for one in own))
    return means(asked) | {"questions": len(questions)}


def read_questions(config: FactAnswersConfig, name: str, generator: Generator) -> list[FactQuestion]:
    """The distinct questions of a set: one that stands before two false answers is asked once.

    Raises:
        UserError: no such set, or speech of another tokenizer than the model's.
    """
    file = Path(config.sets) / f"{name}.jsonl"
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="give the folder sets of evaluation.fact_set")
    found: dict[str, FactQuestion] = {}
    for item in read_choice_set(BENCHMARKS["pairs"], file, ("t2t", "s2t")).items:
        generator.vocabulary.check_speech_tokenizer(item.speech_tokenizer, str(file))
        one = question_of(item)
        found.setdefault(one.text, one)
    return list(found.values())


def question_of(item: ChoiceItem) -> FactQuestion:
    """The question and the true reply of a choice."""
    asked, reply = item.context, item.candidates[item.correct].text
    assert asked is not None and asked.text and asked.codes and reply
    codes = np.array(asked.codes, dtype=np.uint16)
    return FactQuestion(item.id, item.subset, item.cluster, asked.text, codes, reply)


def answer_line(question: FactQuestion, answers: list[FactAnswer]) -> str:
    """A question and its answers as JSON."""
    own = {"id": question.id, "question": question.text, "answer": question.answer}
    return json.dumps(own | {one.way: one.text for one in answers}) + "\n"


def item_line(question: FactQuestion, answer: FactAnswer) -> str:
    """One answer's measure as JSON, as evaluation.base_score writes those of choices."""
    record = {
        "id": question.id,
        "subset": question.subset,
        "cluster": question.entity,
        "direction": answer.way,
        "measures": {answer.name: list(answer.measure)},
    }
    return json.dumps(record) + "\n"


def means(asked: Asked) -> dict[str, float]:
    """The mean of each way's measure, over all questions and of each subset."""
    found: dict[str, float] = {}
    for way, name in dict.fromkeys((one.way, one.name) for _, own in asked for one in own):
        measures = [
            PartMeasure(question.subset, one.measure, question.entity)
            for question, own in asked
            for one in own
            if one.way == way
        ]
        mean = mean_score(name, measures)
        found[f"{way}.{name}"] = mean.micro
        found |= {f"{way}.{name}.{subset}": value for subset, value in mean.subsets.items()}
    return found
