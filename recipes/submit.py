"""Job scripts of a recipe on a cluster: sbatch scripts for SLURM, or scripts for torchrun.

    speechweave submit recipe=9b cluster=64xH100 data.base=/models/glm-4-9b-hf data.tokens=/data/tokens \\
        data.texts=/data/texts data.interleaved=/data/interleaved run.out=/runs/9b \\
        site.runtime=pyxis site.container=/images/speechweave.sqsh 'site.mounts=[/data:/data,/runs:/runs]'
    bash /runs/9b/submit/submit.sh                                    each step waits for those it needs

    speechweave submit recipe=1.5b cluster=64xH100 sweep=interleaved ...    one run a variant of an ablation
    speechweave submit recipe=9b cluster=8xH200 site.launcher=torchrun ...
    speechweave submit recipe=speech_paper cluster=8xH100 ...      tokenizer, decoder, text-to-token model, measured

Every step's options are checked by its own stage, and the layout by the planner, before a script is written. The last
steps evaluate what was trained; one whose set is not given (``data.salmon=PATH`` ...) is left out and named. Options
of the site (``site.partition=gpu`` ...) stand in recipes/cluster/site.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from runtime.artefact import write_text
from runtime.config import option_rows, read_section
from runtime.errors import UserError

from .cluster.cluster_recipe import ChainRecipe, ClusterRecipe, load_chain
from .cluster.site import SiteConfig
from .plan import RECIPES, RecipePlan, Step, make_plan
from .planner import what_would_fit
from .recipe_command import RecipeCommand

TRAININGS = ("lm.train", "tokenizer.train", "decoder.train", "decoder.train_vocoder")
OPTIONAL_DATA = (  # besides what steps name under `given`
    *("texts_heldout", "interleaved_root", "tokens_root"),
    *("long_texts_heldout", "dialogues_heldout", "aloud_root"),
)


def act(words: list[str]) -> int:
    """Write the scripts, and print the command that starts each run."""
    for folder in write_scripts(words):
        first = "run.sh" if (folder / "run.sh").exists() else "submit.sh"
        print(f"bash {folder / first}")
    return 0


def write_scripts(arguments: Sequence[str]) -> list[Path]:
    """Write the scripts of a recipe, or of each variant of a sweep; returns their folders."""
    sweeps = [word.removeprefix("sweep=") for word in arguments if word.startswith("sweep=")]
    sites = [word.removeprefix("site.") for word in arguments if word.startswith("site.")]
    words = [word for word in arguments if not word.startswith(("sweep=", "site."))]
    site, recipe = site_config(sites), load_chain(words)
    if not sweeps:
        return [write_recipe(recipe, site)]
    known = recipe.sections.get("sweeps") or {}
    if sweeps[-1] not in known:
        remedy = f"sweeps of recipe {recipe.name}: {', '.join(known) or 'none'}"
        raise UserError("option sweep", found=f"found {sweeps[-1]!r}", remedy=remedy)
    folders = []
    for variant, overrides in known[sweeps[-1]].items():
        out = f"run.out={recipe.sections['run']['out']}-{sweeps[-1]}-{variant}"
        folders.append(write_recipe(load_chain([*words, *overrides, out]), site))
    return folders


def site_config(words: Sequence[str]) -> SiteConfig:
    """``key=value`` words as a checked config."""
    try:
        values = {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(list(words))}
    except HydraException as error:
        raise UserError("options site.*", found=" ".join(str(error).split()), remedy="write site.NAME=value") from error
    return read_section(SiteConfig, values, "site.")


def write_recipe(recipe: ChainRecipe, site: SiteConfig) -> Path:
    """Check one recipe and write its scripts; returns their folder. Steps that are left out are printed.

    Raises:
        UserError: data that is not given, a layout that does not fit, or an option that a stage refuses.
    """
    named = [given for step in recipe.sections["plan"].values() for given in step.get("given", [])]
    optional = {*OPTIONAL_DATA, *(name.removeprefix("data.") for name in named)}
    missing = [name for name, value in recipe.sections["data"].items() if not value and name not in optional]
    if missing:
        found = f"no data.{missing[0]}"
        raise UserError(f"recipe {recipe.name}", found=found, remedy=f"add data.{missing[0]}=PATH (recipes say what)")
    sections = recipe.sections | {"quickstart": recipe.sections["run"]}
    if isinstance(recipe, ClusterRecipe):
        sections |= laid_out(recipe)
    plan = make_plan(sections)
    for note in plan.notes:
        print(f"recipe {recipe.name}: {note}")
    folder = plan.out / "submit"
    folder.mkdir(parents=True, exist_ok=True)
    for step in plan.steps.values():
        suffix = ".sbatch" if site.launcher == "slurm" else ".sh"
        write_text(folder / f"{step.name}{suffix}", step_script(step, plan, recipe, site))
    if site.launcher == "slurm":
        (plan.out / "logs").mkdir(exist_ok=True)
        write_text(folder / "submit.sh", submit_script(plan))
    elif recipe.cluster.nodes == 1:
        names = " ".join(f"{name}.sh" for name in plan.steps)
        lines = ["#!/usr/bin/env bash", "set -euo pipefail", 'cd "$(dirname "$0")"']
        write_text(folder / "run.sh", "\n".join([*lines, f'for step in {names}; do bash "$step"; done', ""]))
    return folder


def laid_out(recipe: ClusterRecipe) -> dict[str, Any]:
    """The sections of the trainings of a language model with the layout for the cluster.

    Raises:
        UserError: it does not fit.
    """
    layout = recipe.layout()
    if layout is None or not layout.fits:
        found = f"a layout that does not fit {recipe.cluster}"
        raise UserError(f"recipe {recipe.name}", found=found, remedy=what_would_fit(recipe, layout))
    loop = {"micro_batch": layout.loop.micro_batch, "recompute": layout.loop.recompute}
    names = [name for name, step in recipe.sections["plan"].items() if step["run"] == "lm.train"]
    trainings = {name: recipe.sections[name] for name in names}
    parallel = asdict(layout.parallel)
    return {name: {**one, "parallel": parallel, "train": one["train"] | loop} for name, one in trainings.items()}


def step_script(step: Step, plan: RecipePlan, recipe: ChainRecipe, site: SiteConfig) -> str:
    """The script that runs one step: trainings on the whole cluster, others on one node, most without accelerators."""
    is_training = step.config.run in TRAININGS
    gpus = recipe.cluster.per_node if is_training else min(step.config.gpus, recipe.cluster.per_node)
    environment = Environment(
        loader=FileSystemLoader(RECIPES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["quote"] = shlex.quote
    template = "step.sbatch.j2" if site.launcher == "slurm" else "step.torchrun.sh.j2"
    cluster, cores = recipe.cluster, site.cpus_per_gpu * recipe.cluster.per_node
    absolute = {name: str(path.resolve()) for name, path in _paths(step, plan).items()}
    unquotable = next((path for path in absolute.values() if shlex.quote(path) != path), None)
    if unquotable:
        raise UserError(unquotable, found="a path with spaces or signs", remedy="choose another run.out for a cluster")
    return environment.get_template(template).render(
        job=f"{plan.out.name}-{step.name}",
        step=step.name,
        module=step.config.run,
        recipe=recipe.name,
        site=site,
        nodes=cluster.nodes if is_training else 1,
        tasks=gpus or 1,
        gpus=gpus,
        cpus=site.cpus_per_gpu if gpus else cores,
        threads=max(1, site.cpus_per_gpu // 4) if gpus else cores,
        python=site.python,
        wrapper=container_words(site),
        workdir=shlex.quote(site.workdir or str(Path.cwd())),
        **absolute,
    )


def _paths(step: Step, plan: RecipePlan) -> dict[str, Path]:
    log = plan.out / "logs" / f"{step.name}-%j.log"
    return {"config": step.config_file, "log": log, "done": step.folder / step.stage.DONE}


def container_words(site: SiteConfig) -> str:
    """Words before the command: srun's container options (pyxis), or apptainer's own command."""
    image, mounts = shlex.quote(site.container), shlex.quote(",".join(site.mounts))
    if site.runtime == "pyxis":
        bound = f"--container-mounts={mounts} " if site.mounts else ""
        return f"--container-image={image} {bound}--container-workdir={shlex.quote(site.workdir or str(Path.cwd()))} "
    if site.runtime == "apptainer":
        bound = f"--bind {mounts} " if site.mounts else ""
        return f"apptainer exec --nv {bound}{image} "
    return ""


def submit_script(plan: RecipePlan) -> str:
    """Submits every step; each waits until those it needs have ended well."""
    lines = ["#!/usr/bin/env bash", "# Submits the steps in order; a step starts when those it needs have ended well."]
    lines += ["set -euo pipefail", 'cd "$(dirname "$0")"']
    for step in plan.steps.values():
        needed = "".join(f":$job_{need}" for need in step.config.needs)
        after = f'--dependency="afterok{needed}" --kill-on-invalid-dep=yes ' if needed else ""
        lines.append(f"job_{step.name}=$(sbatch --parsable {after}{step.name}.sbatch)")
        lines.append(f'echo "{step.name}: job $job_{step.name}"')
    return "\n".join(lines) + "\n"


COMMAND = RecipeCommand(
    words="submit", help=__doc__, run=act, kinds={f"site.{row.name}": row.kind for row in option_rows(SiteConfig)}
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
