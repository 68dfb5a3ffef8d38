"""Quality of resynthesised speech: the table of `evaluation.quality`, and some utterances with sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation.speech.config import RECORDINGS
from evaluation.speech.quality_table import table_cells
from evaluation.speech.speech_scoring import read_scores
from recipes.reporting.blocks import Section, png_uri, sound
from recipes.reporting.run_results import Results

MODULE = "evaluation.quality"


def quality_section(results: Results) -> Section | None:
    """The recordings and each resynthesis of them."""
    step = results.step_of(MODULE)
    folder = results.folder(step) if step else None
    if step is None or folder is None:
        return None
    section = Section("Quality of speech")
    section.text(
        "Held-out recordings, turned into tokens and back into speech in different ways. The word error rate of the "
        "recordings is the judge's own, the floor; the distances are means over utterances and good for comparison "
        "within this table only. In brackets: 95 % intervals."
    )
    summary: dict[str, dict[str, float]] = {}
    for name, value in results.metrics_of(step).items():
        part, key = name.split(".", 1)
        summary.setdefault(part, {})[key] = value
    cells = table_cells(summary, read_scores(folder))
    section.table(cells.header, cells.rows)
    rows = results.lines(step, "details.jsonl")
    heard = {(row["part"], row["id"]): row.get("judge", "–") for row in rows}
    for number, row in enumerate([row for row in rows if row["part"] == RECORDINGS], 1):
        picture = folder / f"sheets/{number:02d}.png"
        if not picture.exists():
            break
        section.heading(row["text"])
        sounds = {part: sound_of(folder, number, part) for part in summary}
        table: list[list[Any]] = [[part, sound(file), heard[part, row["id"]]] for part, file in sounds.items() if file]
        section.table(["source", "sound", "the judge hears"], table)
        section.image(png_uri(picture.read_bytes()), f"spectrograms of “{row['text']}” from each source")
    return section


def sound_of(folder: Path, number: int, part: str) -> Path | None:
    """The sound file of a part on the listening page."""
    return next(iter((folder / "sounds").glob(f"{number:02d}-{part}.*")), None)
