"""Spoken instructions of our own: all can be followed, disfluencies keep the words, the layout is the published one."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import read_audio
from evaluation import instruction_set
from evaluation.benchmarks.speech_instruct_bench import CONDITIONS
from evaluation.rules.instructions.arguments import AT_LEAST, Arguments
from evaluation.rules.instructions.table import CHECKERS
from evaluation.spoken_instructions.conditions import FILLERS, disfluent
from evaluation.spoken_instructions.config import InstructionSetConfig
from evaluation.spoken_instructions.requests import INSTRUCTIONS, SpokenRequest, adjusted_requests, closed_requests
from runtime.artefact import file_digest
from runtime.errors import UserError
from tests.support.scored_set import answer_all, read_benchmark, score_all

NAME = "speech_instruct_bench"
FOREIGN = {
    "de": "Wir gehen heute am Hafen spazieren und sehen die Schiffe.",
    "fr": "Nous allons nous promener au port et regarder les bateaux.",
    "es": "Hoy vamos a pasear por el puerto y ver los barcos grandes.",
    "it": "Oggi andiamo a passeggiare nel porto e guardiamo le navi.",
}
END = "Is there anything else I can help with?"


def words_for(id_: str, values: Mapping[str, Any]) -> str:
    """What a text must have in it for an instruction about words, letters and placeholders."""
    relation = values.get("relation", values.get("let_relation"))
    if id_ == "keywords:existence":
        return " ".join(values["keywords"])
    if id_ == "keywords:frequency" and relation == AT_LEAST:
        return " ".join([values["keyword"]] * values["frequency"])
    if id_ == "keywords:letter_frequency" and relation == AT_LEAST:
        return values["letter"] * values["let_frequency"]
    return "[name] " * values.get("num_placeholders", 0)


def answer_to(request: SpokenRequest) -> str:
    """An answer that follows every instruction of a request."""
    ids, kwargs = request.columns["instruction_id_list"], request.columns["kwargs"]
    body = " ".join(["we walk", *filter(None, map(words_for, ids, kwargs))]).strip()
    first, values = ids[0].partition(":")[2], kwargs[0]
    count = max((value for value in values.values() if isinstance(value, int)), default=0)
    more = count if AT_LEAST in values.values() else 0
    return {
        "response_language": FOREIGN.get(values.get("language", ""), ""),
        "number_sentences": f"{body}." + " We go home." * more,
        "number_paragraphs": "\n***\n".join([body] * count),
        "number_words": body + " home" * more,
        "nth_paragraph_first_word": "\n\n".join(
            [f"{values.get('first_word')} {body}"] * values.get("num_paragraphs", 0)
        ),
        "postscript": f"{body}\nP.S. me",
        "number_bullet_lists": "\n".join([f"* {body}"] * count),
        "constrained_response": "My answer is yes.",
        "number_highlighted_sections": body + " *home*" * count,
        "multiple_sections": "\n".join(f"Section {number}\n{body}" for number in range(1, count + 1)),
        "json_format": '{"walk": "home"}',
        "title": f"<<home>>\n{body}",
        "two_responses": "home\n******\nout",
        "repeat_prompt": f"{values.get('prompt_to_repeat')} {body}",
        "end_checker": f"{body} {END}",
        "quotation": f'"{body}"',
        "capital_word_frequency": body + " HOME" * more,
        "english_capital": body.upper(),
    }.get(first, body)


def is_followed(request: SpokenRequest, answer: str) -> list[bool]:
    ids, kwargs = request.columns["instruction_id_list"], request.columns["kwargs"]
    return [CHECKERS[id_](answer, Arguments(values)) for id_, values in zip(ids, kwargs, strict=True)]


def test_every_checker_is_asked_for_and_every_request_can_be_followed() -> None:
    assert INSTRUCTIONS.keys() == CHECKERS.keys()
    requests = closed_requests(200, seed=3)
    assert len({request.prompt for request in requests}) == 200
    first = [request.columns["instruction_id_list"][0] for request in requests[:25]]
    assert sorted(first) == sorted(CHECKERS), "the checkers come in turn"
    for request in requests:
        assert all(is_followed(request, answer_to(request))), request
    careless = [all(is_followed(request, "Well, you know, it is what it is")) for request in requests]
    assert sum(careless) < 50, "most instructions are not followed by the way"
    assert any(len(request.columns["kwargs"]) == 2 for request in requests)
    assert closed_requests(200, seed=3) == requests != closed_requests(200, seed=4)


def test_corrections_name_another_form_and_topic() -> None:
    requests = adjusted_requests(100, seed=1)
    assert len({request.prompt for request in requests}) == 100
    for request in requests:
        before, after = request.prompt.split(". No, wait, make that a ")
        form, topic = before.removeprefix("Write a ").split(" about ")
        assert not after.startswith(form) and topic not in after


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.5, 1.0])
def test_disfluencies_keep_the_words_and_their_order(rate: float) -> None:
    text = "Write a poem about the sea. Do not use any commas. Is that clear?"
    for seed in range(50):
        said = disfluent(text, rate, random.Random(seed))
        heard = iter(said.replace("I mean,", "").split())
        assert all(word in heard for word in text.split()), said
        assert len(said.split()) > len(text.split()), "one at least"
        assert said == disfluent(text, rate, random.Random(seed))
    everything = " ".join(disfluent(text, 0.5, random.Random(seed)) for seed in range(50))
    assert all(mark in everything for mark in (*FILLERS, "no,", "the, the"))


def test_the_set_is_read_and_scored_as_the_published_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {"closed": 4, "open": 2, "adjustment": 1, "snr": 5.0}
    made = instruction_set.STAGE.execute(InstructionSetConfig(out=str(tmp_path / "one"), **options))
    assert made["items"] == 4 * 5 + 3
    instruction_set.STAGE.execute(InstructionSetConfig(out=str(tmp_path / "two"), **options))
    data = tmp_path / "one" / "set"
    assert file_digest(data) == file_digest(tmp_path / "two" / "set"), "the same seed, the same bytes"
    found = read_benchmark(NAME, data, needs_audio=True)
    subsets = {item.subset for item in found.items}
    assert subsets == {*(f"closed_{name}_en" for name in CONDITIONS), "open_ended_en", "adjustment_en"}
    rows = {
        name: [json.loads(line) for line in (data / f"closed_{name}_en.jsonl").read_text().splitlines()]
        for name in CONDITIONS
    }
    for name in CONDITIONS:
        assert [row["prompt"] for row in rows[name]] == [row["prompt"] for row in rows["standard"]]
        is_same = [row["spoken_text"] == row["prompt"] for row in rows[name]]
        assert not any(is_same) if name == "disfluency" else all(is_same)
    for plain, noisy, *others in zip(*(rows[name] for name in CONDITIONS), strict=True):
        clean, mixed = (read_audio(data / row["audio_path"]) for row in (plain, noisy))
        gain = np.dot(clean, mixed) / np.dot(clean, clean)
        ratio = 10 * np.log10(np.mean((gain * clean) ** 2) / np.mean((mixed - gain * clean) ** 2))
        assert ratio == pytest.approx(options["snr"], abs=0.3), "the noise lies over the same speech"
        assert all(not np.array_equal(clean, read_audio(data / row["audio_path"])) for row in others)
    answers = {
        request.prompt: answer_to(request)
        for request in (SpokenRequest(row["prompt"], row) for row in rows["standard"])
    }
    said = [answers.get(item.prompt, "") for item in found.items]
    metrics = score_all(NAME, data, answer_all(NAME, data, tmp_path / "answers", said), tmp_path / "scores")
    assert metrics["text.instructions.P"] == metrics["text.instructions.I"] == 1


def test_mandarin_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="language=cn: no built-in voice"):
        InstructionSetConfig(out=str(tmp_path), language="cn")
    with pytest.raises(UserError, match="conditions"):
        InstructionSetConfig(out=str(tmp_path), conditions=["accent", "accent"])
