"""Price of each step of a recipe for a cluster: GPU-hours, CPU-hours, days and bytes, by arithmetic.

| stage | GPU-hours | CPU-hours | bytes kept |
|---|---|---|---|
| text2token.aloud | hours of speech over the server's speed | none counted: the server has the work | FLAC |
| text2token.pack | | | ids of 4 bytes, clips of 20 |
| lm.prepare, chatbot.prepare of vectors | | decoding of every recording, once | none: audio stays in its place |
| lm.import_hf, lm.export | | | weights, 2 bytes a parameter |
| lm.train | the planner's, and the encoder's | | checkpoints that are kept |

A frozen encoder computes every clip once, divided between the tensor parallel processes of the first stage, at 2
operations a parameter and frame. Evaluations are not priced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lm.training.loop_config import LoopConfig
from runtime.config import read_section

from .cluster_recipe import ClusterRecipe
from .layouts import ClusterLayout, lay_out

ID_BYTES, SPAN_BYTES = 4, 20
SECONDS_A_CLIP = 3.0  # of a span of words: 7.5 words at 2.5 a second; our choice


@dataclass(frozen=True, kw_only=True)
class StepPrice:
    """Price of one step.

    Attributes:
        step: name.
        gpu_hours: of all accelerators; of aloud, those of the text-to-speech server.
        cpu_hours: of one core.
        days: with the recipe's cluster (and, of CPU work, the step's processes).
        bytes: kept at its end.
        is_known: whether there is a price; evaluations and small steps have none.
    """

    step: str
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    days: float = 0.0
    bytes: float = 0.0
    is_known: bool = True


def price_steps(recipe: ClusterRecipe, layout: ClusterLayout) -> list[StepPrice]:
    """The price of each step of the plan, in its order."""
    steps: Mapping[str, Any] = recipe.sections["plan"]
    prices = []
    for name, step in steps.items():
        price = PRICES.get(step["run"], unpriced)
        prices.append(price(name, recipe.sections.get(name) or {}, recipe, layout))
    return prices


def unpriced(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """No price."""
    return StepPrice(step=name, is_known=False)


def aloud(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """Speech by a text-to-speech server on the whole cluster."""
    assumed = recipe.assumed
    hours = assumed.speech_hours / assumed.tts_real_time
    days = hours / recipe.cluster.gpus / 24
    return StepPrice(step=name, gpu_hours=hours, days=days, bytes=assumed.speech_hours * assumed.flac_megabytes * 1e6)


def packing(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """Ids and side table; no audio is decoded."""
    clips = recipe.assumed.speech_hours * 3600 / SECONDS_A_CLIP
    return StepPrice(step=name, bytes=recipe.assumed.interleaved_tokens * ID_BYTES + clips * SPAN_BYTES)


def decoding(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """Every recording is opened and checked once."""
    if section.get("speech") != "vectors" or "corpus" not in section:
        return unpriced(name, section, recipe, layout)
    hours = recipe.assumed.recorded_hours / recipe.assumed.decode_real_time
    positions = recipe.assumed.recorded_hours * 3600 * recipe.assumed.positions_per_second
    return StepPrice(
        step=name, cpu_hours=hours, days=hours / section.get("processes", 1) / 24, bytes=positions * ID_BYTES
    )


def weights(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """A model's folder in bf16."""
    return StepPrice(step=name, bytes=2.0 * recipe.model.num_parameters(recipe.assumed.vocabulary_size))


def training(name: str, section: Mapping[str, Any], recipe: ClusterRecipe, layout: ClusterLayout) -> StepPrice:
    """A training in the layout of the recipe's ``lm``, its encoder included, and the checkpoints that stay."""
    loop = read_section(LoopConfig, section["train"], f"{name}.train.")
    loop = replace(loop, micro_batch=layout.loop.micro_batch, recompute=layout.loop.recompute)
    found = lay_out(recipe.model, layout.parallel, loop, recipe.cluster, recipe.assumed).throughput
    encoder = encoder_hours(found.tokens, recipe) if "speech" in section else 0.0
    kept = loop.keep + (loop.steps // loop.keep_every if loop.keep_every else 0)
    return StepPrice(
        step=name,
        gpu_hours=found.gpu_hours + encoder,
        days=found.days + encoder / recipe.cluster.gpus / 24,
        bytes=kept * found.checkpoint_bytes,
    )


def encoder_hours(tokens: int, recipe: ClusterRecipe) -> float:
    """GPU-hours of the frozen encoder's forward passes."""
    assumed = recipe.assumed
    seconds = tokens * assumed.speech_share / assumed.positions_per_second
    operations = 2 * assumed.encoder_parameters * assumed.encoder_frames * seconds
    return operations / (recipe.cluster.accelerator.tflops * 1e12 * assumed.mfu) / 3600


PRICES: dict[str, Callable[[str, Mapping[str, Any], ClusterRecipe, ClusterLayout], StepPrice]] = {
    "text2token.aloud": aloud,
    "text2token.pack": packing,
    "lm.prepare": decoding,
    "lm.import_hf": weights,
    "lm.export": weights,
    "lm.export_audio": weights,
    "lm.train": training,
}
