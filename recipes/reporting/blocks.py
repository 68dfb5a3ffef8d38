"""Building blocks of a report: a section with its paragraphs, tables and pictures, and the cells of its tables."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

Block = dict[str, Any]  # what the template reads: "kind" and the fields of that kind


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
        """Add pictures next to each other, each a data URI and its description."""
        self.blocks.append({"kind": "images", "pictures": pictures})

    def table(self, header: list[str], rows: list[list[Any]]) -> None:
        """Add a table; a cell may be ``{"audio": uri}`` or ``{"text": ..., "mark": "right" | "wrong"}``."""
        self.blocks.append({"kind": "table", "header": header, "rows": rows})

    def document(self, pieces: list[dict[str, Any]]) -> None:
        """Add an interleaved document as pieces of text and folded speech tokens."""
        self.blocks.append({"kind": "document", "pieces": pieces})


def figure_text(value: float) -> str:
    """A number, rounded for a reader."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def percent(value: float | None) -> str:
    """A rate as per cent, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def interval(edges: Sequence[float]) -> str:
    """The lower and the upper edge of a rate's interval in words."""
    low, high = edges
    return f"{percent(low)} to {percent(high)}"


def marked(text: str | None, is_right: bool) -> dict[str, str]:
    """A table cell that shows whether its words are right."""
    return {"text": text or "(nothing)", "mark": "right" if is_right else "wrong"}


def sound(path: Path | str | None) -> Any:
    """A table cell with a player, or a dash."""
    return {"audio": audio_uri(Path(path))} if path else "–"


def audio_uri(path: Path) -> str:
    """A sound file as a data URI, compressed (Ogg Vorbis)."""
    samples, rate = soundfile.read(path, dtype="float32")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="OGG", subtype="VORBIS")
    return "data:audio/ogg;base64," + base64.b64encode(buffer.getvalue()).decode()


def png_uri(data: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode()
