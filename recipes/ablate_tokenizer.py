"""Ablation of the speech tokenizer: every point of a grid trained and scored, in one table with the paper's.

    speechweave ablate tokenizer
        the paper's four frame rates on the built-in corpus, equal data: 1,000 steps each

    speechweave ablate tokenizer corpus=runs/quickstart/corpus model.frame_rate=50,12.5 fit.steps=300
        a corpus that is there already (any folder of NeMo manifests), two points, fewer steps

    speechweave ablate tokenizer out=runs/codebooks model.frame_rate=12.5 vq.codebook_size=128,512,2048 vq.kind=vq,fsq
        six points: any options of tokenizer.train as key=value,value; one value sets it for all points

    speechweave ablate tokenizer budget=cpu_seconds cpu_seconds=300
        equal CPU time instead of equal data

    speechweave ablate tokenizer recipe=ablate_tokenizer_librispeech corpus=data/librispeech
        LibriSpeech, with GPUs where there are any (see the head of recipes/ablate_tokenizer_librispeech.yaml)

Other options (key=value): those of `recipes.ablation.plan.AblateConfig` (out, seed, cores, processes, corpus, budget,
cpu_seconds, vocoder, recogniser ...), and evaluate.KEY, build.KEY, decode.KEY for tokenizer.evaluate, corpus.build,
decoder.train.

Every training and evaluation is a stage in a folder of its own under <out>/points. Killed at any moment and called
again, it goes on where it was; a point that fails is reported and the others go on. At the end, and after every call,
<out> holds ablation.md, ablation.html, ablation.png and ablation.json.

On one core of a 2026 server a step of 40 s of audio takes about 0.5 CPU-seconds at 50 Hz, 0.38 at 25 Hz, 0.27 at 12.5
and 6.25 Hz; an evaluation about a minute. So the first command above takes about 28 CPU-minutes (half of that with two
cores) without the corpus, and with fit.steps=1800, the quickstart's own budget, about 47.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from runtime.artefact import read_json
from runtime.config import read_section
from runtime.stage import Stage, exclusive

from .ablation.ending import print_ablation
from .ablation.grid import Point, flatten, make_points, parse_overrides, plain
from .ablation.plan import AblateConfig, Ablation
from .ablation.words import split_words
from .plan import load_recipe
from .quickstart import Runner
from .recipe_command import RecipeCommand

SECTIONS = ("evaluate", "build", "decode")


def load_ablation(arguments: Sequence[str]) -> Ablation:
    """The recipe with the command line's options, as a checked ablation.

    Raises:
        UserError: an option that is not there, or a value that does not suit.
    """
    words = split_words(arguments, {field.name for field in fields(AblateConfig)}, SECTIONS)
    recipe = load_recipe(words.recipe, default="ablate_tokenizer")
    by_rate = {plain(float(rate)): flatten(own) for rate, own in recipe["ablate"].get("by_frame_rate", {}).items()}
    settings = recipe["ablate"] | {"by_frame_rate": by_rate}
    config = read_section(AblateConfig, settings, "ablate.")
    overrides = parse_overrides(words.grid)
    points = make_points(flatten(recipe["sweep"]), flatten(recipe["train"]), by_rate, overrides)
    sections: dict[str, Any] = {name: recipe.get(name) or {} for name in SECTIONS}
    return Ablation(config=config, points=points, **sections)


def run_ablation(ablation: Ablation, command: str) -> dict[str, str]:
    """Run what is not done yet and write the table; returns what failed, and why."""
    from .ablation.page import write_ablation

    steps: dict[str, int] = {}
    failed: dict[str, str] = {}
    with exclusive(ablation.out):
        ablation.plan()  # checks every option before anything runs
        if ablation.config.budget == "cpu_seconds":
            calibration = Runner(ablation.calibration(), keeps_going=True)
            calibration.run()
            failed |= calibration.failed
            steps = {point.name: affordable_steps(ablation, point) for point in ablation.points}
            steps = {name: number for name, number in steps.items() if number}
        left = Ablation(**vars(ablation) | {"points": [p for p in ablation.points if not steps or p.name in steps]})
        if not failed or steps:
            runner = Runner(left.plan(steps), keeps_going=True)
            runner.run()
            failed |= runner.failed
        write_ablation(ablation, failed, command)
    return failed


def affordable_steps(ablation: Ablation, point: Point) -> int:
    """Steps that fit the CPU time, from what the calibration took; 0 where it failed."""
    folder = ablation.out / "calibration" / point.name
    if not (folder / Stage.DONE).exists():
        return 0
    cost = read_json(folder / "metrics.json")["fit_cpu_seconds"] / ablation.config.calibration_steps
    return max(ablation.config.calibration_steps, round(ablation.config.cpu_seconds / cost))


def act(words: list[str]) -> int:
    """Run the ablation and print its table; the exit status is 1 where a point failed."""
    ablation = load_ablation(words)
    failed = run_ablation(ablation, shlex.join(["speechweave", "ablate", "tokenizer", *words]))
    return print_ablation(ablation.out, failed)


COMMAND = RecipeCommand(words="ablate tokenizer", help=__doc__, run=act)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
