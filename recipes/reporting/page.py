"""Lays a run's results out as sections of blocks, and renders them into the report's one HTML file."""

from __future__ import annotations

import base64
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.artefact import write_json, write_text

from .run_results import Results

Block = dict[str, Any]
TEMPLATE = Path(__file__).with_name("report.html")


@dataclass
class Section:
    """One part of the page."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The section's id in the page."""
        return self.title.lower().replace(" ", "-")

    def text(self, words: str) -> None:
        """Add a paragraph."""
        self.blocks.append({"kind": "text", "text": words})

    def heading(self, words: str) -> None:
        """Add a smaller title."""
        self.blocks.append({"kind": "heading", "text": words})

    def image(self, source: str, description: str) -> None:
        """Add a picture (a data URI) with its description."""
        self.blocks.append({"kind": "image", "source": source, "text": description})

    def images(self, pictures: list[tuple[str, str]]) -> None:
        """Add pictures side by side, each a data URI and its description."""
        self.blocks.append({"kind": "images", "pictures": pictures})

    def table(self, header: list[str], rows: list[list[Any]]) -> None:
        """Add a table; a cell may be ``{"audio": uri}`` or ``{"text": ..., "mark": "right" | "wrong"}``."""
        self.blocks.append({"kind": "table", "header": header, "rows": rows})

    def document(self, pieces: list[dict[str, Any]]) -> None:
        """Add an interleaved document as pieces of text and folded speech tokens."""
        self.blocks.append({"kind": "document", "pieces": pieces})


def figure_text(value: float) -> str:
    """A number as a person reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def percent(value: float | None) -> str:
    """A rate as per cent, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def audio_uri(path: Path) -> str:
    """A sound file as a data URI, compressed (Ogg Vorbis)."""
    import io

    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="OGG", subtype="VORBIS")
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()


def headline_tiles(metrics: dict[str, Any]) -> list[dict[str, str]]:
    """The handful of numbers that say how the run went."""
    rates = [
        ("tokenizer.wer_with_vq", "tokenizer WER through 12.5 Hz tokens, unseen sentences"),
        ("decoder.judge_wer", "judge's WER of resynthesised speech"),
        ("judge.floor_wer", "the same judge on the untouched audio"),
        ("text2token.readback_wer", "text-to-token: WER read back"),
        ("chat.speech_to_text_accuracy", "spoken questions answered right in text"),
        ("chat.speech_to_speech_accuracy", "spoken answers right by the judge"),
    ]
    tiles = [{"value": percent(metrics[key]), "label": label} for key, label in rates if key in metrics]
    if "seconds.total" in metrics:
        tiles.append({"value": f"{metrics['seconds.total'] / 60:.1f} min", "label": "from text to a spoken answer"})
    return tiles


def write_report(results: Results, *, num_examples: int) -> None:
    """Write ``report.html`` and ``metrics.json`` into the run folder, atomically."""
    from jinja2 import Environment

    from .sections import all_sections, chat_example

    metrics = results.flat_metrics()
    example = chat_example(results)
    if example is not None:
        metrics["chat.example.heard"] = example["heard"]
        metrics["chat.example.said"] = example["said"]
        metrics["chat.example.audio"] = example["audio"]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure_text
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=f"speechweave: {results.recipe}",
        subtitle=f"{len(results.steps)} steps on {platform.machine()}, Python {platform.python_version()}",
        tiles=headline_tiles(metrics),
        sections=all_sections(results, metrics, num_examples=num_examples),
    )
    write_text(results.root / "report.html", page)
    write_json(results.root / "metrics.json", dict(sorted(metrics.items())))
