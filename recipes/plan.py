"""Recipe: one YAML file with the stages that run, the needs of each, and each stage's options.

Composed by Hydra from the YAML files in this folder (``recipe=NAME``, default ``quickstart``) and overrides::

    quickstart: {out: runs/quickstart, seed: 1, cores: 2, manifest: null}
    plan:
      corpus: {run: corpus.build, cores: 2}
      tokenizer: {run: tokenizer.train, needs: [corpus]}
    corpus: {num_utterances: 6000}          # options of the stage of that name
    tokenizer: {corpus: ${quickstart.out}/corpus}
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from runtime.artefact import write_json, write_text
from runtime.config import Options, compose_config, option, read_section
from runtime.errors import UserError, check_option
from runtime.stage import Stage, StageConfig

RECIPES = Path(__file__).parent
ABLATION = "ablate_"


@dataclass(kw_only=True)
class RecipeSettings(Options):
    """Section ``quickstart`` of a recipe.

    Attributes:
        out: folder of the run; each step has its own in it.
        seed: of every step.
        cores: cores to use.
        manifest: the user's recordings, for ``corpus.build``.
        also: optional groups of steps that run too.
    """

    out: str
    seed: int = 1
    cores: int = option(2, at_least=1)
    manifest: str | None = None
    also: list[str] = option([])


@dataclass(kw_only=True)
class StepConfig(Options):
    """One line of a recipe's ``plan``.

    Attributes:
        run: module of the stage.
        needs: names of the steps whose output this one reads; those of a group that is left out do not count.
        cores: cores it takes while running (steps run side by side while their cores fit).
        processes: ranks to start (for ``lm.train``: tensor x pipeline x data parallel).
        metrics: prefix of its metrics in metrics.json ("" for none, null to leave them out).
        group: an optional step's group; it runs when ``quickstart.also`` names the group.
        given: options of the recipe, as SECTION.option, that the user may give (paths of benchmarks); where one is
            empty, the step is left out, and named.
        gpus: accelerators of its node on a cluster; 0 for a step that needs none. Trainings have the whole cluster.
    """

    run: str
    needs: list[str] = option([])
    cores: int = option(1, at_least=1)
    processes: int = option(1, at_least=1)
    metrics: str | None = None
    group: str | None = None
    given: list[str] = option([])
    gpus: int = option(0, at_least=0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A checked step: its stage, its config file and its place in the plan."""

    name: str
    config: StepConfig
    stage: Stage[Any]
    options: StageConfig
    config_file: Path

    @property
    def folder(self) -> Path:
        """The step's run folder."""
        return Path(self.options.out)


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """All steps of a recipe in an order that respects their needs.

    Attributes:
        out: folder of the run.
        cores: to use.
        steps: by name.
        left_out: steps without the data that they need, with the option that would give it.
    """

    out: Path
    cores: int
    steps: dict[str, Step]
    left_out: dict[str, str]

    @property
    def notes(self) -> list[str]:
        """A line about each step that is left out."""
        return [f"step {name} is left out: give {option}=PATH" for name, option in self.left_out.items()]


def load_recipe(arguments: Sequence[str], *, default: str = "quickstart") -> dict[str, Any]:
    """Compose the recipe's YAML with ``key=value`` overrides; ``recipe=NAME`` chooses the file.

    Args:
        arguments: the overrides.
        default: the recipe without ``recipe=``. One that ablates can only be exchanged for another of its kind.

    Raises:
        UserError: no such recipe, or an option that it does not have.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    names = [word.removeprefix("recipe=") for word in arguments if word.startswith("recipe=")]
    name = names[-1] if names else default
    names_of = {file.stem for file in RECIPES.glob("*.yaml")}
    ablations = {stem for stem in names_of if stem.startswith(ABLATION)}
    same = {stem for stem in ablations if stem.startswith(default)}
    known = sorted(same if default in ablations else names_of - ablations)
    if name not in known:
        raise UserError("option recipe", found=f"found {name!r}", remedy=f"choose one of {', '.join(known)}")
    overrides = [word for word in arguments if not word.startswith("recipe=")]
    for word in overrides:
        if "=" not in word:
            raise UserError(f"argument {word!r}", found="not of the form key=value", remedy="see --help")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(RECIPES), version_base="1.3"):
            kept = [word for word in overrides if not word.startswith("+")]
            own = compose(name, overrides=kept) if kept != overrides else None
            value = OmegaConf.to_container(compose(name, overrides=overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        text = " ".join(str(error).split("full_key:")[0].split())
        remedy = f"the options are those of recipes/{name}.yaml and, under a step's name, of its stage (+key=value)"
        raise UserError("recipe options", found=text, remedy=remedy) from error
    assert isinstance(value, dict)
    sections = {*(value if own is None else own), *value.get("plan", {})}
    for section in value.keys() - sections:  # added by +SECTION.option=..., and read by nobody
        known = sorted(map(str, sections))
        near = get_close_matches(str(section), known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"section {section} of the recipe", found="no step of that name", remedy=hint)
    return {str(key): section for key, section in value.items()} | {"recipe": name}


def make_plan(recipe: dict[str, Any]) -> RecipePlan:
    """Check every step's options with its own stage, before anything runs."""
    if "quickstart" not in recipe or "plan" not in recipe:
        found = f"{recipe.get('recipe')!r}, which is no recipe of this command"
        remedy = "recipes for clusters belong to speechweave plan and submit, presets to their stage's --config"
        raise UserError("option recipe", found=found, remedy=remedy)
    settings = read_section(RecipeSettings, recipe["quickstart"], "quickstart.")
    entries = {name: read_section(StepConfig, entry, f"plan.{name}.") for name, entry in recipe["plan"].items()}
    left_out = steps_without_data(entries, settings.also, recipe)
    steps = {
        name: make_step(name, entry, recipe.get(name) or {}, settings)
        for name, entry in wanted_steps(entries, settings.also, left_out).items()
    }
    listed = {
        name: {"module": step.config.run, "folder": str(step.folder), "metrics": step.config.metrics}
        for name, step in steps.items()
    }
    plan = RecipePlan(out=Path(settings.out), cores=settings.cores, steps=steps, left_out=left_out)
    write_json(plan.out / "recipe" / "plan.json", {"recipe": recipe["recipe"], "steps": listed})
    return plan


def steps_without_data(
    entries: Mapping[str, StepConfig], also: Collection[str], recipe: Mapping[str, Any]
) -> dict[str, str]:
    """The steps of which an option in ``given`` is empty, with that option.

    Raises:
        UserError: the recipe has no such option.
    """
    left_out: dict[str, str] = {}
    for name, entry in entries.items():
        for given in entry.given if entry.group is None or entry.group in also else ():
            section, _, option_name = given.partition(".")
            options = recipe.get(section) or {}
            known = ", ".join(f"{section}.{one}" for one in options) or f"a section {section}"
            check_option(option_name in options, f"plan.{name}.given", given, f"name an option of the recipe: {known}")
            if not options[option_name]:
                left_out.setdefault(name, given)
    return left_out


def wanted_steps(
    entries: Mapping[str, StepConfig], also: Collection[str], without_data: Collection[str] = ()
) -> dict[str, StepConfig]:
    """The steps without those of optional groups that are not named and those without data, as are their needs."""
    groups = {entry.group for entry in entries.values() if entry.group}
    unknown = sorted(set(also) - groups)
    check_option(not unknown, "quickstart.also", unknown, f"the optional groups are {', '.join(sorted(groups))}")
    left_out = {name for name, entry in entries.items() if entry.group and entry.group not in also} | {*without_data}
    wanted: dict[str, StepConfig] = {}
    for name, entry in entries.items():
        if name in left_out:
            continue
        needs = [need for need in entry.needs if need not in left_out]
        missing = [need for need in needs if need not in wanted]
        check_option(not missing, f"plan.{name}.needs", missing, "name steps that stand before it in the plan")
        wanted[name] = replace(entry, needs=needs)
    return wanted


def make_step(name: str, entry: StepConfig, section: Mapping[str, Any], settings: RecipeSettings) -> Step:
    """Write the step's config file, and check it with the step's stage."""
    from omegaconf import OmegaConf

    out = Path(settings.out)
    stage: Stage[Any] = importlib.import_module(entry.run).STAGE
    file = out / "recipe" / f"{name}.yaml"
    options = {"out": str(out / name), "seed": settings.seed} | dict(section)
    write_text(file, OmegaConf.to_yaml(OmegaConf.create(options)))
    try:
        checked = compose_config(stage.config, ["--config", str(file)])
    except UserError as error:
        raise UserError(f"step {name}, {error.subject}", found=error.found, remedy=error.remedy) from error
    return Step(name=name, config=entry, stage=stage, options=checked, config_file=file)
