"""The base language model by likelihood: how often it prefers the right ending of a story, in each direction."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section, interval, percent
from recipes.reporting.run_results import Results

NAMES = {"s2s": "speech to speech", "s2t": "speech to text", "t2s": "text to speech", "t2t": "text to text"}


def base_model_section(results: Results) -> Section | None:
    """Accuracies by direction and rule, with their intervals and those of each part of the set."""
    step = results.step_of("evaluation.base_score")
    scored = results.read(step, "scores.json") if step else None
    if scored is None:
        return None
    scores: list[dict[str, Any]] = scored["scores"]
    first = scores[0]["stamp"]
    section = Section("Base model by likelihood")
    section.text(
        f"{first['items']} stories of the built-in world that no training text contains, each with the right ending "
        "and a wrong one of the same form: another place (place), or another thing in another place (topic). Share of "
        "them in which the pre-trained model finds the right one likelier; chance is 50 %. Spoken parts are in the "
        "corpus's voices."
    )
    subsets = sorted({name for one in scores for name in one["score"]["means"]["accuracy"]["subsets"] if name})
    rows: list[list[Any]] = []
    for one in scores:
        mean = one["score"]["means"]["accuracy"]
        parts = [percent(mean["subsets"].get(name)) for name in subsets]
        direction = NAMES[one["stamp"]["direction"]]
        rows.append([direction, one["stamp"]["rule"], percent(mean["micro"]), interval(mean["interval"]), *parts])
    section.table(["direction", "rule", "right", "95 % interval", *subsets], rows)
    section.text(
        "sequence: mean log-probability per token of story and ending together; continuation: of the ending alone; "
        "continuation_sum: the sum over the ending."
    )
    return section
