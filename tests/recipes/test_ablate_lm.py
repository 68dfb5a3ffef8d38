"""Ablation of the language model: its plan, its mixtures and its tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipes.ablate_lm import load_lm_ablation
from recipes.ablation.lm_options import LmPointConfig
from recipes.ablation.lm_page import markdown
from recipes.ablation.lm_plan import LmAblation, mixture, options_of, steps
from recipes.ablation.lm_table import gather_settings
from recipes.reporting.fact_scores import ChoiceCell, choices_table
from runtime.artefact import write_json, write_text
from runtime.errors import UserError

WEIGHTS = {"text": 0.2, "fact_text": 0.2, "asr": 0.3, "fact_asr": 0.1, "tts": 0.1, "speech": 0.1}


def load(tmp_path: Path, *words: str) -> LmAblation:
    return load_lm_ablation([f"out={tmp_path / 'ablation'}", f"run={tmp_path / 'run'}", *words])


def test_points_without_interleaving_are_one(tmp_path: Path) -> None:
    ablation = load(tmp_path, "amount=0,0.5", "source=text2token,voices", "spans.ratio=0.2,0.4", "seed=1,2")
    assert len(ablation.points) == 2 + 1 * 2 * 2 * 2, "at amount 0 only the seed makes another point"
    assert len({point.name for point in ablation.points}) == len(ablation.points)
    plan = ablation.plan()
    started = [name.split(".")[0] for name in plan.steps]
    assert {kind: started.count(kind) for kind in set(started)} == {
        **dict.fromkeys(("facts", "fact_tokens", "fact_data", "fact_set"), 1),
        "base": 2,
        **dict.fromkeys(("synthesis", "interleaved", "readback"), 4),
        **dict.fromkeys(("train", "likelihoods", "scores", "exported", "answers"), 10),
    }
    for point in ablation.points:
        trained, own = plan.steps[f"train.{point.name}"], options_of(point)
        assert f"base.seed-{own.seed}" in trained.config.needs and trained.options.seed == own.seed
        assert ("interleaved" in vars(trained.options)["corpora"]) == (own.amount > 0)
        assert sum(vars(trained.options)["weights"].values()) == pytest.approx(1, abs=1e-5)


def test_only_texts_of_the_interleaved_group_are_spoken(tmp_path: Path) -> None:
    plan = load(tmp_path, "amount=0.5", "source=text2token,voices", "seed=1").plan()
    spoken = [step.options for name, step in plan.steps.items() if name.startswith("synthesis.")]
    assert {Path(vars(options)["texts"]).name for options in spoken} == {"texts_interleaved.jsonl"}
    assert {vars(options)["backend"] for options in spoken} == {"builtin", "voices"}


def test_tuned_tokens_come_of_a_model_that_learned_the_facts_words(tmp_path: Path) -> None:
    words = ["amount=0.5", "source=text2token,tuned", "readback=true,false", "seed=1,2"]
    ablation = load(tmp_path, *words)
    plan = ablation.plan()
    models = {name: vars(step.options)["model"] for name, step in plan.steps.items() if name.startswith("synthesis.")}
    assert len(models) == 4 and sum("tuned_text2token" in model for model in models.values()) == 2
    checked = {name for name, step in plan.steps.items() if vars(step.options).get("readback")}
    assert checked == {name for name in models if name.endswith("_read")} and len(checked) == 2
    tuned = vars(plan.steps["tuned_text2token"].options)
    assert tuned["init"] == f"{tmp_path}/run/text2token"
    assert tuned["corpora"]["fact_tts"] == f"{ablation.out}/fact_data/tts", "speech, not the texts of other groups"
    needs = plan.steps["synthesis.tuned_poisson_0.4_5"].config.needs
    assert needs == ["tuned_text2token.exported"]


def test_mixtures() -> None:
    half = mixture(WEIGHTS, LmPointConfig(amount=0.5))
    assert half["interleaved"] == 0.5 and half["asr"] == pytest.approx(0.15) and sum(half.values()) == pytest.approx(1)
    without = mixture(WEIGHTS, LmPointConfig(amount=0.5, left_out=["asr", "speech"]))
    assert set(without) == {"text", "fact_text", "tts", "interleaved"} and without["text"] == pytest.approx(0.2)
    assert mixture(WEIGHTS, LmPointConfig()) == pytest.approx(WEIGHTS)


def test_an_added_budget_reads_the_other_kinds_as_often_as_without() -> None:
    added = LmPointConfig(amount=0.55, budget="added")
    others = 1 - mixture(WEIGHTS, added)["interleaved"]
    assert steps(900, added) * others == pytest.approx(900, abs=0.5) and steps(900, LmPointConfig(amount=0.55)) == 900


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["amount=1"], "amount"),
        (["source=nothing"], "source"),
        (["spans.policy=every"], "spans.policy"),
        (["left_out=[pictures]"], "left_out"),
        (["amounts=0.5"], "amounts"),
        (["recipe=ablate_tokenizer"], "ablate_lm"),
        (["text2token="], "source=text2token needs it"),
        (["text2token_data=", "source=tuned"], "source=tuned needs it: give run= or text2token_data="),
        (["train.train.stepps=3"], "stepps"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, *words).plan()


def write_scores(folder: Path, right: dict[tuple[str, str], float], seed: int) -> None:
    """Scores of twenty entities, two items each: the first entities are known, as many as a share says."""
    write_items(folder / "scores", right, "accuracy")
    write_items(folder / "answers", {("questions.interleaved", "heard"): 0.25}, "wer")
    write_json(folder / "lm" / "metrics.json", {"val_loss.text": 1.0 + seed})


def write_items(folder: Path, right: dict[tuple[str, str], float], name: str) -> None:
    lines = []
    for (subset, direction), share in right.items():
        for entity in range(20):
            measures = {name: [float(entity < 20 * share), 1]}
            for number in range(2):
                id = f"{subset}-{entity}-{number}"
                record = {"id": id, "subset": subset, "cluster": f"e{entity}", "direction": direction}
                lines.append(json.dumps(record | {"measures": measures}) + "\n")
    write_text(folder / "items.jsonl", "".join(lines))
    write_json(folder / "done.json", {})


def test_tables_hold_the_seeds_together_and_their_intervals_are_over_entities(tmp_path: Path) -> None:
    ablation = load(tmp_path, "amount=0,0.5", "seed=1,2,3", "source=voices,text2token")
    for point in ablation.points:
        own = options_of(point)
        if (own.source == "voices" and own.seed != 3) or not own.amount:  # the others are not finished
            heard = 0.5 if own.amount == 0 else 0.8 + 0.1 * (own.seed - 1)
            scores = {("questions.interleaved", "s2t"): heard, ("questions.text", "s2t"): 0.5}
            write_scores(ablation.folder(point), scores, own.seed)
    none, half, other = gather_settings(ablation)
    assert not other.seeds and not other.facts.scores
    assert (none.row.label, half.row.label) == ("amount 0", "amount 0.5, source voices")
    assert (none.seeds, half.seeds) == ([1, 2, 3], [1, 2]) and half.val_losses == {"val_loss.text": 2.5}
    cell = ChoiceCell("questions", "s2t")
    mean = half.facts.scores["interleaved"][cell]
    assert mean.micro == pytest.approx(0.85) and half.facts.of_seeds["interleaved"][cell] == [0.8, 0.9]
    assert 0.85 - mean.interval[0] == pytest.approx(1.96 * (0.85 * 0.15 / 20) ** 0.5, abs=0.04), (
        "20 entities, not 80 items"
    )
    heads, rows = choices_table([none.row, half.row], "interleaved")
    assert heads[:3] == ["setting", "seeds", "questions S→T"] and [row[1] for row in rows] == ["3", "2"]
    text = markdown(ablation, [none, half], {"command": "x"}, {"train.y": "ended with status 1"})
    assert half.as_plain()["answers"]["interleaved"]["questions.heard"]["mean"] == 0.25
    assert "questions word errors of the transcript" in text and "25 (" in text
    assert "| amount 0.5, source voices | 2     | 85 (" in text and "ended with status 1" in text
