"""Contents of a run's report: the tables of its headline tiles and sections, and the writing of both files.

A stage of the run is shown without a row here where it declares `runtime.stage.Headline`s: as tiles, and as rows of
the section "Further evaluations". A section of its own is one file under ``sections/`` and one row of `SECTIONS`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.artefact import write_json, write_text
from runtime.stage import Run

from .blocks import Section, figure_text, percent
from .config import ReportConfig
from .page import Tile, render_page
from .run_results import Results
from .sections.answers import answers_section, spoken_example
from .sections.base_model import base_model_section
from .sections.benchmarks import benchmarks_section
from .sections.browser_page import browser_section
from .sections.dialogues import dialogue_section
from .sections.further_evaluations import further_section
from .sections.hearing import generalisation_section, hearing_section
from .sections.interleaving import interleaving_section
from .sections.knowledge import knowledge_section
from .sections.language_model import language_model_section
from .sections.loss_curves import curves_section
from .sections.provenance import provenance_section
from .sections.quality import quality_section
from .sections.served_chat import served_section
from .sections.speech_decoder import decoder_section
from .sections.speech_tokenizer import tokenizer_section
from .sections.steps import steps_section
from .sections.streaming import streaming_section

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    answers_section,
    dialogue_section,
    streaming_section,
    served_section,
    browser_section,
    hearing_section,
    generalisation_section,
    steps_section,
    curves_section,
    tokenizer_section,
    interleaving_section,
    knowledge_section,
    language_model_section,
    base_model_section,
    decoder_section,
    quality_section,
    benchmarks_section,
    further_section,
    provenance_section,
)


def headline_tiles(results: Results) -> list[Tile]:
    """The headline metrics of the run's stages, and the wall clock of the run."""
    tiles = [
        Tile(percent(found.value) if found.headline.is_rate else figure_text(found.value), found.headline.label)
        for found in results.headlines()
    ]
    if (seconds := results.total_seconds) is not None:
        tiles.append(Tile(f"{seconds / 60:.1f} min", "from text to a spoken answer"))
    return tiles


def write_report(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write ``report.html`` and ``metrics.json`` into the recipe's run folder, atomically; returns the page's size."""
    results = Results(Path(config.run), num_examples=config.examples)
    with run.progress(len(SECTIONS), "writing the report", unit="section") as bar:
        made = []
        for section in SECTIONS:
            made.append(section(results))
            bar.update()
    page = render_page(
        f"speechweave: {results.recipe}",
        f"{len(results.steps)} steps on {platform.machine()}, Python {platform.python_version()}",
        [section for section in made if section is not None],
        headline_tiles(results),
    )
    metrics = results.metrics | {f"chat.example.{key}": value for key, value in spoken_example(results).items()}
    write_text(results.root / "report.html", page)
    write_json(results.root / "metrics.json", dict(sorted(metrics.items())))
    return {"bytes": (results.root / "report.html").stat().st_size}
