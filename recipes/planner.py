"""Plan of a run on a cluster: memory of a process, time, checkpoints, failures, and the price of each step.

    speechweave plan recipe=9b cluster=64xH100
    speechweave plan recipe=1.5b cluster=8xH200 lm.train.micro_batch=2
    speechweave plan recipe=9b cluster=64xH100 --search          the fastest layout that fits, whatever the recipe says
    speechweave plan recipe=9b cluster=64xH100 --json

Recipes are 9b, 1.5b and inserter_7b; clusters NUMBERxKIND of H100, H200, H800, A100 or B200, eight to a node. What is
assumed (``assumed.mfu=0.4`` ...) stands in recipes/cluster/throughput.py with its sources. A layout that does not fit
is refused with status 2, and one that would fit is named. This is arithmetic: communication is not modelled beyond the
pipeline's bubble, and nothing here was measured on a GPU.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.config import TRUE

from .cluster.cluster_recipe import ClusterRecipe, load_cluster_recipe
from .cluster.layouts import ClusterLayout, best_layout, smallest_cluster
from .cluster.memory import GIB, MemoryParts
from .cluster.step_prices import StepPrice, price_steps
from .recipe_command import RecipeCommand

FLAGS = ("json", "search")
PART_NOTES = {
    "weights": "bf16 parameters",
    "gradients": "fp32 buffers",
    "optimizer": "fp32 master weights and Adam moments",
    "activations": "kept for the backward pass",
    "recomputation": "one layer, made again",
    "logits": "last stage: scores, softmax, weight gradient",
    "working": "a layer's gradients on their way",
    "margin": "CUDA context, NCCL, workspaces, fragmentation",
}


def act(words: list[str]) -> int:
    """Show the plan; the exit status is 2 where it does not fit."""
    is_json, is_search = (f"{flag}={TRUE}" in words for flag in FLAGS)
    recipe = load_cluster_recipe([word for word in words if word.partition("=")[0] not in FLAGS])
    layout = replace(recipe, parallel=None).layout() if is_search else recipe.layout()
    fits = layout is not None and layout.fits
    remedy = "" if fits else what_would_fit(recipe, layout)
    if is_json:
        print(json.dumps(report(recipe, layout, remedy), indent=2))
    else:
        show(recipe, layout, remedy)
    return 0 if fits else 2


def what_would_fit(recipe: ClusterRecipe, layout: ClusterLayout | None) -> str:
    """A layout that fits on this cluster, or the smallest cluster of its kind on which one does."""
    same = best_layout(recipe.model, recipe.loop, recipe.cluster, recipe.assumed) if layout is not None else None
    if same is not None:
        return f"on {recipe.cluster} this fits: {same.options()} ({same.needed / GIB:.1f} GiB a process)"
    found = smallest_cluster(recipe.model, recipe.loop, recipe.cluster.kind, recipe.assumed, above=recipe.cluster.gpus)
    if found is None:
        return f"no layout tried fits on any number of {recipe.cluster.kind}: lower lm.train.sequence_length"
    cluster, other = found
    return (
        f"no layout tried fits on {recipe.cluster}; the smallest that fits is cluster={cluster} with "
        f"{other.options()} ({other.needed / GIB:.1f} GiB a process, {other.throughput.days:,.0f} days)"
    )


def report(recipe: ClusterRecipe, layout: ClusterLayout | None, remedy: str) -> dict[str, Any]:
    """The plan as plain data; sizes in bytes."""
    content: dict[str, Any] = {
        "recipe": recipe.name,
        "cluster": str(recipe.cluster),
        "parameters": recipe.model.num_parameters(recipe.assumed.vocabulary_size),
        "flops_per_token": recipe.model.flops_per_token(recipe.assumed.vocabulary_size, recipe.loop.sequence_length),
        "fits": layout is not None and layout.fits,
        "assumed": asdict(recipe.assumed),
    }
    if layout is not None:
        content |= {
            "layout": asdict(layout.parallel) | {"data": layout.data},
            "micro_batch": layout.loop.micro_batch,
            "recompute": layout.loop.recompute,
            "memory": [asdict(stage) | {"total": stage.total} for stage in layout.stages],
            "available": layout.available,
        }
    if content["fits"] and layout is not None:
        content["forecast"] = asdict(layout.throughput)
        content["steps"] = [asdict(price) for price in price_steps(recipe, layout)]
    return content | ({"would_fit": remedy} if remedy else {})


def show(recipe: ClusterRecipe, layout: ClusterLayout | None, remedy: str) -> None:
    """Print the plan as tables."""
    console = Console(highlight=False)
    size = recipe.model.num_parameters(recipe.assumed.vocabulary_size)
    console.print(
        f"[bold]{recipe.name}[/bold] on {recipe.cluster} ({recipe.cluster.nodes} nodes): {size / 1e9:.2f} B parameters"
    )
    if layout is not None:
        console.print(f"layout: {layout.options()} (data parallel {layout.data})", soft_wrap=True)
        console.print(memory_table(layout))
    if layout is None or not layout.fits:
        needed = (
            f"{layout.needed / GIB:.1f} GiB a process, {layout.available / GIB:.1f} there" if layout else "no layout"
        )
        console.print(f"[bold red]does not fit[/bold red]: {needed}. {remedy}.", soft_wrap=True)
        return
    console.print(time_table(recipe, layout))
    console.print(step_table(price_steps(recipe, layout)))


def memory_table(layout: ClusterLayout) -> Table:
    """Memory of the fullest process, part by part."""
    parts, number = layout.stages[layout.fullest], len(layout.stages)
    where = f"pipeline stage {layout.fullest + 1} of {number}, the fullest" if number > 1 else "each process"
    table = Table(title=f"memory of a process ({where})", title_justify="left")
    table.add_column("part")
    table.add_column("GiB", justify="right")
    table.add_column("")
    for field in fields(MemoryParts):
        table.add_row(field.name, f"{getattr(parts, field.name) / GIB:.2f}", PART_NOTES[field.name])
    table.add_section()
    share = f"{parts.total / layout.available:.0%} of {layout.available / GIB:.1f}"
    table.add_row("total", f"{parts.total / GIB:.2f}", share)
    return table


def step_table(prices: list[StepPrice]) -> Table:
    """GPU-hours, CPU-hours, days and storage of each step."""
    table = Table(title="steps (- : not priced)", title_justify="left")
    table.add_column("step")
    for title in ("GPU-hours", "CPU-hours", "days", "GB kept"):
        table.add_column(title, justify="right")
    for price in prices:
        shown = [f"{price.gpu_hours:,.0f}", f"{price.cpu_hours:,.0f}", f"{price.days:.2f}", f"{price.bytes / 1e9:,.0f}"]
        table.add_row(price.step, *(shown if price.is_known else ["-"] * 4))
    total = [sum(getattr(price, name) for price in prices) for name in ("gpu_hours", "cpu_hours", "days", "bytes")]
    table.add_section()
    hours, cores, days, size = total
    table.add_row("one after another", f"{hours:,.0f}", f"{cores:,.0f}", f"{days:.2f}", f"{size / 1e9:,.0f}")
    return table


def time_table(recipe: ClusterRecipe, layout: ClusterLayout) -> Table:
    """Speed, time, checkpoints and failures."""
    found = layout.throughput
    table = Table(title="time", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    table.add_row(
        "tokens", f"{found.tokens / 1e12:.3f} T", f"{recipe.loop.steps:,} steps of {recipe.loop.tokens_per_step:,}"
    )
    table.add_row("micro batches a step", str(found.micro_batches), "")
    table.add_row("pipeline bubble", f"{found.bubble:.1%}", "")
    table.add_row(
        "MFU, strict", f"{found.mfu:.1%}", f"assumed {recipe.assumed.mfu:.0%} before bubble and recomputation"
    )
    speed = found.tokens_per_second
    table.add_row("tokens a second", f"{speed:,.0f}", f"{speed / recipe.cluster.gpus:,.0f} a GPU")
    table.add_row("days", f"{found.days:.1f}", "interruptions included")
    table.add_row("GPU-hours", f"{found.gpu_hours:,.0f}", "")
    table.add_section()
    table.add_row("checkpoint", f"{found.checkpoint_bytes / 1e9:.0f} GB", f"stops training {found.block_seconds:.1f} s")
    interval = f"{found.checkpoint_steps:,} steps; the recipe saves every {recipe.loop.checkpoint_every:,}"
    table.add_row("best interval", f"{found.checkpoint_minutes:.0f} min", interval)
    table.add_row("expected failures", f"{found.failures:.1f}", f"one in {found.hours_between_failures:,.0f} h")
    table.add_row("lost to both", f"{found.lost:.1%}", "checkpoints, repeated steps, restarts")
    return table


COMMAND = RecipeCommand(words="plan", help=__doc__, run=act, kinds=dict.fromkeys(FLAGS, bool))
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
