"""Recipe for a cluster: a model's YAML (``recipe=9b``), the layout for the cluster (``cluster=64xH100``), overrides.

It is a recipe as `recipes.plan` knows them, with ``run`` for its place, ``data`` for the user's data, ``assumed``
for the planner and ``sweeps`` for ablations. ``recipes/layout/<recipe>/<cluster>.yaml`` sets ``lm.parallel``, and of
``lm.train`` micro batch and recomputation; for a cluster without such a file the planner searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
DEFAULT_CLUSTER = "64xH100"
OPEN_SECTIONS = ("lm.parallel.", "lm.train.", "lm.weights", "assumed.")  # a recipe sets only some of their options


@dataclass(frozen=True, kw_only=True)
class ClusterRecipe:
    """A composed recipe.

    Attributes:
        name: of the recipe.
        cluster: the machines.
        sections: the resolved YAML.
        overrides: the user's.
        model: of ``lm``.
        parallel: of ``lm``; None: no layout is given for this cluster.
        loop: of ``lm``.
        assumed: for the planner.
    """

    name: str
    cluster: Cluster
    sections: dict[str, Any]
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
    """Names of the recipes for clusters."""
    return sorted(folder.name for folder in LAYOUTS.iterdir() if folder.is_dir())


def load_cluster_recipe(arguments: Sequence[str]) -> ClusterRecipe:
    """Compose ``recipe=NAME cluster=NxKIND key=value ...``.

    Raises:
        UserError: no such recipe, cluster or option.
    """
    words = {
        key: [word.partition("=")[2] for word in arguments if word.startswith(f"{key}=")]
        for key in ("recipe", "cluster")
    }
    name = (words["recipe"] or ["9b"])[-1]
    known = cluster_recipes()
    if name not in known:
        raise UserError("option recipe", found=f"found {name!r}", remedy=f"choose one of {', '.join(known)}")
    cluster = Cluster.parse((words["cluster"] or [DEFAULT_CLUSTER])[-1])
    overrides = [word for word in arguments if not word.startswith(("recipe=", "cluster="))]
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
