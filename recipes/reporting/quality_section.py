"""The report's section on the quality of speech: the table of `evaluation.quality`, and sounds to hear."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from evaluation.quality import RECORDINGS, STAGE, cells

from .page import Section, audio_uri
from .run_results import Results


def quality_section(results: Results) -> Section | None:
    """The recordings beside each resynthesis of them."""
    steps = [name for name, entry in results.steps.items() if entry["module"] == STAGE.name]
    if not steps:
        return None
    (step,) = steps
    folder = results.folder(step)
    assert folder is not None
    section = Section("Quality of speech")
    section.text(
        "Held-out recordings, turned into tokens and back into speech in different ways. The word error rate of the "
        "recordings is the judge's own, the floor; the distances are means over utterances and good for comparison "
        "within this table only."
    )
    summary: dict[str, dict[str, float]] = {}
    for name, value in results.metrics_of(step).items():
        part, key = name.split(".", 1)
        summary.setdefault(part, {})[key] = value
    section.table(*cells(summary))
    rows = results.lines(step, "details.jsonl")
    heard = {(row["part"], row["id"]): row.get("judge", "–") for row in rows}
    for number, row in enumerate([row for row in rows if row["part"] == RECORDINGS], 1):
        picture = folder / f"sheets/{number:02d}.png"
        if not picture.exists():
            break
        section.heading(row["text"])
        sounds = {part: sound_of(folder, number, part) for part in summary}
        table: list[list[Any]] = [
            [part, {"audio": audio_uri(file)}, heard[part, row["id"]]] for part, file in sounds.items() if file
        ]
        section.table(["source", "sound", "the judge hears"], table)
        source = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
        section.image(source, f"spectrograms of “{row['text']}” from each source")
    return section


def sound_of(folder: Path, number: int, part: str) -> Path | None:
    """The sound file of a part on the listening page."""
    return next(iter((folder / "sounds").glob(f"{number:02d}-{part}.*")), None)
