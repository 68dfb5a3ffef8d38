"""Language models that hear speech as vectors: word errors, answers to spoken and typed questions, generalisation."""

from __future__ import annotations

from typing import Any

from imitation.benchmark.generalisation import TITLES
from recipes.reporting.blocks import Section, interval, percent, png_uri
from recipes.reporting.run_results import Results

CONTROLS = {
    "plain": "recognition and text alone, the same budget",
    "direct": "the text model, tuned at once",
    "typed": "the questions typed",
    "served": "this recipe as a served chatbot",
    "cascade": "the questions as an independent recogniser hears them",
    "one": "a connector trained on repeating alone",
    "speech": "a connector trained on speech alone",
    "supervised": "a connector trained on right answers, not the text model's",
    "divergence": "a connector trained by KL to the text model that reads",
}


def control_of(step: str) -> str:
    """The meaning of a step of a control, by the first word of its name; "" of the recipe's own model."""
    return CONTROLS.get(step.split("_")[0], "")


def steps_of(results: Results, module: str) -> list[str]:
    """The finished steps that ran a stage."""
    return [step for step, entry in results.steps.items() if entry["module"] == module]


def hearing_section(results: Results) -> Section | None:
    """Word errors and right answers of each model, with their intervals."""
    heard = steps_of(results, "evaluation.recognition")
    if not heard:
        return None
    section = Section("Speech as vectors")
    section.text(
        "The language model reads the vectors of a frozen speech encoder through a connector, not speech tokens; "
        "it writes what it hears after its own recognition task, and answers spoken questions in text."
    )
    rows: list[list[Any]] = []
    for step in heard:
        found = results.metrics_of(step)
        bounds = interval((found["wer_low"], found["wer_high"]))
        rows.append(
            ["word errors", control_of(step) or "this recipe", percent(found["wer"]), bounds, found["utterances"]]
        )
    for step in steps_of(results, "evaluation.score"):
        scored = results.read(step, "scores.json")
        first = scored["scores"][0] if scored else None
        if first is not None:
            mean = first["score"]["means"]["accuracy"]
            shown = [percent(mean["micro"]), interval(mean["interval"]), mean["items"]]
            rows.append(["right answers", control_of(step) or "this recipe", *shown])
    section.table(["measure", "model", "", "95 % interval", "of"], rows)
    return section


def generalisation_section(results: Results) -> Section | None:
    """Means over tasks for each connector, condition and group of prompts, and the plot of the first."""
    measured = steps_of(results, "imitation.generalisation")
    if not measured:
        return None
    section = Section("Imitation of a text model")
    section.text(
        "A connector was trained to make a frozen text model answer speech as it answers the transcript. Mean over "
        "tasks (95 % interval over utterances) on prompts it was trained on, on other wordings of its tasks, and on "
        "tasks it never saw. A cascade is an independent recogniser and the same text model."
    )
    rows: list[list[Any]] = []
    for step in measured:
        scored = results.read(step, "scores.json")
        for condition, groups in (scored["scores"] if scored else {}).items():
            if condition in ("transcript", "cascade") and step != measured[0]:
                continue  # the same text model in every row
            cells = []
            for group in TITLES:
                one = groups.get(group)
                cells.append(f"{percent(one['mean'])} ({interval(one['interval'])})" if one else "")
            rows.append([control_of(step) or "this recipe", condition, *cells])
    section.table(["connector", "input", *TITLES.values()], rows)
    folder = results.folder(measured[0])
    if folder is not None and (folder / "generalisation.png").is_file():
        section.image(png_uri((folder / "generalisation.png").read_bytes()), "means over tasks by group and input")
    return section
