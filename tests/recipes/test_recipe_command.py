"""Commands on recipes have the grammar of all commands, though their options are sections of a YAML file."""

from __future__ import annotations

import pytest

from recipes import ablate_tokenizer, planner, quickstart, submit
from recipes.ablate_tokenizer import load_ablation
from recipes.cluster.cluster_recipe import load_cluster_recipe
from recipes.plan import load_recipe
from recipes.recipe_command import RecipeCommand
from recipes.submit import site_config
from runtime.config import parse_open_words
from runtime.errors import UserError


def test_a_recipe_is_the_same_in_both_spellings() -> None:
    spelt = ["--recipe", "smallest", "--lm.parallel.tensor", "1", "--corpus.num-utterances=7"]
    assert parse_open_words(spelt, {}) == ["recipe=smallest", "lm.parallel.tensor=1", "corpus.num_utterances=7"]
    assert load_recipe(parse_open_words(spelt, {})) == load_recipe(parse_open_words(parse_open_words(spelt, {}), {}))
    cluster = ["--recipe", "9b", "--cluster", "8xH100", "--lm.train.micro-batch", "2", "--assumed.mfu", "0.3"]
    words = ["recipe=9b", "cluster=8xH100", "lm.train.micro_batch=2", "assumed.mfu=0.3"]
    assert load_cluster_recipe(parse_open_words(cluster, {})) == load_cluster_recipe(words)
    swept = parse_open_words(["--model.frame_rate", "50,12.5", "--out", "runs/a", "--fit.steps=3"], {})
    assert load_ablation(swept) == load_ablation(["model.frame_rate=50,12.5", "out=runs/a", "fit.steps=3"])


def test_flags_and_literal_strings() -> None:
    plan, scripts = planner.COMMAND, submit.COMMAND
    assert parse_open_words(["--json", "--search"], plan.kinds) == ["json=true", "search=true"]
    given = parse_open_words(["--site.partition", "a b's", "--site.max-restarts", "2"], scripts.kinds)
    site = site_config([word.removeprefix("site.") for word in given])
    assert (site.partition, site.max_restarts) == ("a b's", 2)


@pytest.mark.parametrize("command", [quickstart, planner, submit, ablate_tokenizer])
def test_words_without_an_option_are_errors(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    own = command.COMMAND  # type: ignore[attr-defined]
    assert isinstance(own, RecipeCommand)
    assert own.main(["nonsense"]) == 2
    assert "'nonsense': not of the form key=value" in capsys.readouterr().err
    assert own.main(["--recipe"]) == 2
    assert "no value" in capsys.readouterr().err


def test_the_end_of_a_command_is_its_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    def act(words: list[str]) -> int:
        if words == ["a=1"]:
            raise UserError("a", found="1", remedy="give 2")
        if words == ["a=2"]:
            raise KeyboardInterrupt
        return len(words)

    command = RecipeCommand(words="any thing", help="about it", run=act)
    assert [command.main(words) for words in ([], ["b=1"], ["a=1"], ["--a", "2"])] == [0, 1, 2, 130]
    assert "speechweave any thing: error: a: 1. give 2." in capsys.readouterr().err
    assert command.main(["--help"]) == 0
    assert capsys.readouterr().out == "about it\n"
