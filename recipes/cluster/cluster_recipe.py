"""Recipe for a cluster: a model's YAML (``recipe=9b``), the layout for the cluster (``cluster=64xH100``), overrides.

It is a recipe as `recipes.plan` knows them, with ``run`` for its place, ``data`` for the user's data, ``assumed``
for the planner and ``sweeps`` for ablations. ``recipes/layout/<recipe>/<cluster>.yaml`` sets ``lm.parallel``, and of
``lm.train`` micro batch and recomputation; for a cluster without such a file the planner searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from recipes.plan import RECIPES, load_recipe
from runtime.config import read_section
from runtime.errors import UserError

from .layouts import ClusterLayout, best_layout, lay_out, smallest_layout
from .machines import Cluster
from .throughput import Assumptions

LAYOUTS = RECIPES / "layout"
CHAINS = ("speech_paper",)  # recipes for clusters whose models need no layout
DEFAULT_CLUSTER = "64xH100"
OPEN_SECTIONS = ("lm.parallel.", "lm.train.", "lm.weights", "assumed.")  # a recipe sets only some of their options


@dataclass(frozen=True, kw_only=True)
class ChainRecipe:
    """A composed recipe, with or without a language model that needs a layout.

    Attributes:
        name: of the recipe.
        cluster: the machines.
        sections: the resolved YAML.
    """

    name: str
    cluster: Cluster
    sections: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClusterRecipe(ChainRecipe):
    """A composed recipe of a language model.

    Attributes (after those of `ChainRecipe`):
        overrides: the user's.
        model: of ``lm``.
        parallel: of ``lm``; None: no layout is given for this cluster.
        loop: of ``lm``.
        assumed: for the planner.
    """

    overrides: list[str]
    model: LmModelConfig
    parallel: ParallelConfig | None
    loop: LoopConfig
    assumed: Assumptions

    def layout(self) -> ClusterLayout | None:
        """The layout given, else the best that fits, else the one that needs least; None: none is possible.

        Raises:
            UserError: the layout given is impossible.
        """
        if self.parallel is None:
            options = (self.model, self.loop, self.cluster, self.assumed)
            return best_layout(*options) or smallest_layout(*options)
        return lay_out(self.model, self.parallel, self.loop, self.cluster, self.assumed)


def cluster_recipes() -> list[str]:
    """Names of the language models' recipes for clusters."""
    return sorted(folder.name for folder in LAYOUTS.iterdir() if folder.is_dir())


class RecipeWords(NamedTuple):
    """The words of a command line: the recipe's name, the machines, and overrides."""

    name: str
    cluster: Cluster
    overrides: list[str]


def read_words(arguments: Sequence[str], known: Sequence[str]) -> RecipeWords:
    """Take ``recipe=`` (by default 9b) and ``cluster=`` out of the words.

    Raises:
        UserError: a recipe that is not known, or no such cluster.
    """
    words = {
        key: [word.partition("=")[2] for word in arguments if word.startswith(f"{key}=")]
        for key in ("recipe", "cluster")
    }
    name = (words["recipe"] or ["9b"])[-1]
    if name not in known:
        raise UserError("option recipe", found=f"found {name!r}", remedy=f"choose one of {', '.join(known)}")
    overrides = [word for word in arguments if not word.startswith(("recipe=", "cluster="))]
    return RecipeWords(name, Cluster.parse((words["cluster"] or [DEFAULT_CLUSTER])[-1]), overrides)


def load_chain(arguments: Sequence[str]) -> ChainRecipe:
    """Compose ``recipe=NAME cluster=NxKIND key=value ...`` of any recipe for clusters.

    Raises:
        UserError: no such recipe, cluster or option.
    """
    name, cluster, overrides = read_words(arguments, [*cluster_recipes(), *CHAINS])
    if name not in CHAINS:
        return load_cluster_recipe(arguments)
    steps = (f"{step}." for step in load_recipe([f"recipe={name}"])["plan"])
    prefixes = tuple(steps)  # a preset sets only some of its stage's options; the stage refuses those it does not have
    forced = [f"++{word}" if word.startswith(prefixes) else word for word in overrides]
    return ChainRecipe(name=name, cluster=cluster, sections=load_recipe([f"recipe={name}", *forced]))


def load_cluster_recipe(arguments: Sequence[str]) -> ClusterRecipe:
    """Compose ``recipe=NAME cluster=NxKIND key=value ...`` of a language model's recipe.

    Raises:
        UserError: no such recipe, cluster or option.
    """
    name, cluster, overrides = read_words(arguments, cluster_recipes())
    file = LAYOUTS / name / f"{cluster}.yaml"
    forced = [f"++{word}" if word.startswith(OPEN_SECTIONS) else word for word in overrides]
    sections = load_recipe([f"recipe={name}", *(layout_overrides(file) if file.is_file() else []), *forced])
    lm = sections["lm"]
    return ClusterRecipe(
        name=name,
        cluster=cluster,
        sections=sections,
        overrides=overrides,
        model=read_section(LmModelConfig, lm["model"], "lm.model."),
        parallel=read_section(ParallelConfig, lm["parallel"], "lm.parallel.") if "parallel" in lm else None,
        loop=read_section(LoopConfig, lm["train"], "lm.train."),
        assumed=read_section(Assumptions, sections["assumed"], "assumed."),
    )


def layout_overrides(file: Path) -> list[str]:
    """A layout file as overrides of the recipe's ``lm``, so that the user's come after them."""
    from omegaconf import OmegaConf

    sections = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(sections, dict)
    return [
        f"++lm.{section}.{name}={str(value).lower()}"
        for section, values in sections.items()
        for name, value in values.items()
    ]
