"""Ablation of the language model: which knowledge passes from text to speech, by amount and kind of interleaved data.

    speechweave ablate lm run=runs/quickstart
        no interleaving, 15 and 55 % of the tokens, the quickstart's text-to-token model, three seeds

    speechweave ablate lm run=runs/quickstart amount=0.55 source=text2token,voices seed=1,2
        the model's tokens against the synthesiser's own

    speechweave ablate lm run=runs/quickstart amount=0.55 source=text2token,tuned readback=true,false
        a model that learned the facts' words, and spans that are spoken again where they are misread

    speechweave ablate lm run=runs/quickstart amount=0.15,0.3,0.55 budget=equal,added
    speechweave ablate lm run=runs/quickstart amount=0.55 spans.ratio=0.1,0.2,0.3,0.4,0.5,0.6
    speechweave ablate lm run=runs/quickstart amount=0.55 spans.policy=poisson,word,sentence,alternate
    speechweave ablate lm run=runs/quickstart amount=0.55 loss=all,text
    speechweave ablate lm run=runs/quickstart amount=0.55 'left_out=[],[speech],[asr,tts]'
        any options of a point (`recipes.ablation.lm_options.LmPointConfig`) as key=value,value; one value sets it
        for all points

Made-up facts (``corpus.facts``) are stated by texts alone; part of these texts are interleaved. One base a seed hears
and has read all texts; each point goes on from it for the same number of steps with its own mixture, and then chooses
between true and false answers in T->T, S->T, T->S and S->S, and answers by generation, with what it hears and a
cascade. The control are facts of the same entities whose texts are
never interleaved. Writes <out>/ablation.md, .html, .png and .json; what is finished is not run again.

``run=`` is a run folder of the quickstart: corpus, tokenizer, tokens, vocabulary, lm_data and text2token_model are
taken from there (each can be given by itself). Other options (key=value): those of
`recipes.ablation.lm_options.AblateLmConfig` (out, cores, steps, rule ...; ablate.seed is that of facts and synthesis),
and facts.KEY, base.KEY, train.KEY, tuning.KEY, synthesis.KEY, answers.KEY for corpus.facts, lm.train (bases, points and
source=tuned), text2token.synthesize and evaluation.fact_answers. base.init=runs/quickstart/lm goes on from that model.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from runtime.config import read_section
from runtime.errors import check_option
from runtime.stage import exclusive

from .ablation.ending import print_ablation
from .ablation.grid import flatten, make_points, parse_overrides
from .ablation.lm_options import AblateLmConfig
from .ablation.lm_plan import LmAblation, options_of
from .ablation.words import split_words
from .plan import load_recipe
from .quickstart import Runner
from .recipe_command import RecipeCommand

NEEDED = (("text2token", "text2token"), ("tuned", "text2token_checkpoint"), ("tuned", "text2token_data"))
SECTIONS = ("facts", "base", "train", "tuning", "synthesis", "answers")


def load_lm_ablation(arguments: Sequence[str]) -> LmAblation:
    """The recipe with the command line's options, as a checked ablation.

    Raises:
        UserError: an option that is not there, or a value that does not suit.
    """
    own = {field.name for field in fields(AblateLmConfig)} - {"seed"} | {"run"}  # a seed without ablate. is a point's
    words = split_words(arguments, own, SECTIONS)
    recipe = load_recipe(words.recipe, default="ablate_lm")
    settings = {key: value for key, value in recipe["ablate"].items() if key != "run"}
    config = read_section(AblateLmConfig, settings, "ablate.")
    grid = flatten(recipe["sweep"])
    points, seen = [], list[Any]()
    for point in make_points(grid, flatten(recipe["point"]), {}, parse_overrides(words.grid)):
        options = options_of(point)
        if options not in seen:  # without interleaved documents, nothing about them makes another point
            seen.append(options)
            points.append(point)
    sources = {one.source for one in seen if one.amount}
    for source, name in NEEDED:
        remedy = f"source={source} needs it: give run= or {name}="
        check_option(bool(getattr(config, name)) or source not in sources, f"ablate.{name}", "", remedy)
    sections: dict[str, Any] = {name: recipe.get(name) or {} for name in SECTIONS}
    return LmAblation(config=config, points=points, **sections)


def run_lm_ablation(ablation: LmAblation, command: str) -> dict[str, str]:
    """Run what is not done yet and write the tables; returns what failed, and why."""
    from .ablation.lm_page import write_lm_ablation

    with exclusive(ablation.out):
        runner = Runner(ablation.plan(), keeps_going=True)
        runner.run()
        write_lm_ablation(ablation, runner.failed, command)
    return runner.failed


def act(words: list[str]) -> int:
    """Run the ablation and print its tables; the exit status is 1 where a point failed."""
    ablation = load_lm_ablation(words)
    failed = run_lm_ablation(ablation, shlex.join(["speechweave", "ablate", "lm", *words]))
    return print_ablation(ablation.out, failed)


COMMAND = RecipeCommand(words="ablate lm", help=__doc__, run=act)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
