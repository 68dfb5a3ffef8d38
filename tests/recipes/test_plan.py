"""A recipe is checked wholly before anything runs; its mistakes are told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.training.parallel import check_layout
from recipes.plan import RecipePlan, load_recipe, make_plan
from recipes.quickstart import main
from runtime.errors import UserError


@pytest.mark.parametrize("name", ["quickstart", "smallest"])
def test_recipes_are_whole(name: str, tmp_path: Path) -> None:
    also = (
        "quickstart.also=[without_interleaving,knowledge,streaming]" if name == "quickstart" else "quickstart.also=[]"
    )
    plan = make_plan(load_recipe([f"recipe={name}", f"quickstart.out={tmp_path}", also]))
    assert next(iter(plan.steps)) == "corpus"
    assert list(plan.steps)[-1] == "report"
    assert all(step.folder.parent == tmp_path for step in plan.steps.values())
    assert plan.steps["lm"].config.processes == 2
    for step in plan.steps.values():
        if step.config.run == "lm.train":
            parallel, model, batch = (getattr(step.options, name) for name in ("parallel", "model", "batch_shape"))
            check_layout(parallel, model, batch, processes=step.config.processes, backend="gloo")


@pytest.mark.parametrize("name", ["inserter", "mtbi"])
def test_recipes_of_continuous_speech_are_whole(name: str, tmp_path: Path) -> None:
    every = {
        "inserter": "without_interleaving,without_pretraining,served",
        "mtbi": "one_task,not_interleaved,supervised,divergence",
    }[name]
    given = [f"recipe={name}", f"quickstart.out={tmp_path}"]
    steps = make_plan(load_recipe(given)).steps
    assert list(steps)[-1] == "report"
    whole = make_plan(load_recipe([*given, f"quickstart.also=[{every}]"])).steps
    shapes = {repr(step.options.model) for step in whole.values() if step.config.run == "lm.train"}  # type: ignore[attr-defined]
    assert len(shapes) == 1 and len(whole) > len(steps)


def test_a_section_of_no_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="section tokeniser of the recipe: no step of that name"):
        make_plan(load_recipe([f"quickstart.out={tmp_path}", "+tokeniser.fit.steps=3"]))


def test_an_error_of_a_step_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="step tokenizer, option fit"):
        make_plan(load_recipe([f"quickstart.out={tmp_path}", "tokenizer.fit.steps=0"]))


def test_an_optional_group_runs_when_named(tmp_path: Path) -> None:
    given = [f"quickstart.out={tmp_path}"]
    assert "plain_lm" not in make_plan(load_recipe(given)).steps
    steps = make_plan(load_recipe([*given, "quickstart.also=[without_interleaving]"])).steps
    assert "plain_lm" in steps
    assert steps["plain_lm"].options.train == steps["lm"].options.train  # type: ignore[attr-defined]


def test_the_lm_of_interleaved_facts_differs_from_the_other_in_its_mixture_alone(tmp_path: Path) -> None:
    for recipe in ("quickstart", "smallest"):
        given = [f"quickstart.out={tmp_path}", "quickstart.also=[knowledge]", f"recipe={recipe}"]
        steps = make_plan(load_recipe(given)).steps
        plain, own = (vars(steps[name].options) for name in ("fact_plain_lm", "fact_interleaved_lm"))
        differ = {key for key in plain if plain[key] != own[key]}
        assert differ == {"out", "corpora", "weights"}
        share = 1 - own["weights"]["interleaved"]
        assert plain["weights"] == pytest.approx({name: own["weights"][name] / share for name in plain["weights"]})
        assert own["corpora"].items() - plain["corpora"].items() == {
            ("interleaved", f"{tmp_path}/fact_interleaved/interleaved")
        }
        spoken = vars(steps["fact_synthesis"].options)
        assert Path(spoken["texts"]).name == "texts_interleaved.jsonl"


def test_the_plain_lm_keeps_the_proportions_of_what_is_left(tmp_path: Path) -> None:
    given = [f"quickstart.out={tmp_path}", "quickstart.also=[without_interleaving]"]
    steps = make_plan(load_recipe(given)).steps
    with_all = steps["lm"].options.weights  # type: ignore[attr-defined]
    without = steps["plain_lm"].options.weights  # type: ignore[attr-defined]
    rest = 1 - with_all["interleaved"]
    assert without == pytest.approx({name: with_all[name] / rest for name in without})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["recipe=none"], "choose one of"),
        (["quickstart.sead=1"], "quickstart.sead"),
        (["corpus.num_utterances=many"], "corpus.num_utterances|num_utterances"),
        (["+corpus.colour=red"], "colour"),
        (["quickstart.also=[else]"], "without_interleaving"),
        (["quickstart.cores=0"], "quickstart.cores"),
        (["nonsense"], "key=value"),
    ],
)
def test_mistakes_are_named_before_anything_runs(arguments: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        make_plan(load_recipe([f"quickstart.out={tmp_path}", *arguments]))


def test_the_command_prints_one_paragraph(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([f"quickstart.out={tmp_path}", "lm.train.step=3"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("error:") == 1
    assert "Traceback" not in printed


def test_a_step_whose_data_is_not_given_is_left_out_by_name(tmp_path: Path) -> None:
    def plan(**data: str) -> RecipePlan:
        encode = {"run": "corpus.build", "given": ["data.sounds"]}
        after = {"run": "evaluation.quality_score", "needs": ["sounds"]}
        recipe = {"recipe": "own", "quickstart": {"out": str(tmp_path)}, "plan": {"sounds": encode, "scores": after}}
        return make_plan(recipe | {"data": data, "scores": {"measured": "m"}})

    assert list(plan(sounds="here").steps) == ["sounds", "scores"] and plan(sounds="here").notes == []
    without = plan(sounds="")
    assert list(without.steps) == ["scores"] and without.steps["scores"].config.needs == []
    assert without.notes == ["step sounds is left out: give data.sounds=PATH"]
    with pytest.raises(UserError, match=r"plan\.sounds\.given.*data\.sound"):
        plan(sound="here")


def test_the_commands_for_any_manifest_are_a_group(tmp_path: Path) -> None:
    given = [f"quickstart.out={tmp_path}", "quickstart.also=[sets]", "recipe=smallest"]
    steps = make_plan(load_recipe(given)).steps
    assert steps["tokenizer_set"].options.speaking.voices == ["espeak-f2"]  # type: ignore[attr-defined]
    assert {"tokenizer_set", "decoder_set"} <= set(steps["report"].config.needs)


def test_the_formats_of_long_replies_differ_in_their_data_alone_and_in_two_parts_have_as_many_targets(
    tmp_path: Path,
) -> None:
    for recipe in ("quickstart", "smallest"):
        given = [f"quickstart.out={tmp_path}", "quickstart.also=[streaming]", f"recipe={recipe}"]
        steps = make_plan(load_recipe(given)).steps
        first, blocks, parts = (vars(steps[f"{name}_chat"].options) for name in ("text_first", "streaming", "two_part"))
        assert {key for key in first if first[key] != blocks[key]} == {"out", "corpora"}
        assert {key for key in first if first[key] != parts[key]} == {"out", "corpora", "weights", "losses", "train"}
        one, other = (vars(steps[f"{name}_data"].options) for name in ("text_first", "streaming"))
        assert {key for key in one if one[key] != other[key]} == {"out", "format"}
        assert parts["losses"] == {"text_part": "text", "speech_part": "speech"}
    whole = make_plan(load_recipe([f"quickstart.out={tmp_path}", "quickstart.also=[streaming]"])).steps
    sequences = {}
    for name in ("streaming", "two_part"):
        options = vars(whole[f"{name}_chat"].options)
        total = sum(options["weights"].values())
        sequences[name] = {key: options["train"].steps * value / total for key, value in options["weights"].items()}
    both, each = sequences["streaming"], sequences["two_part"]
    assert both == pytest.approx({"chat": each["text_part"], "asr": each["asr"], "text": each["text"]})
    assert each["text_part"] == each["speech_part"]
