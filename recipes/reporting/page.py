"""The HTML page of sections: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment

from .blocks import Section, figure_text

TEMPLATE = Path(__file__).with_name("report.html")


class Tile(NamedTuple):
    """A number at the top of the page, and its meaning in a few words."""

    value: str
    label: str


def render_page(title: str, subtitle: str, sections: Sequence[Section], tiles: Sequence[Tile] = ()) -> str:
    """The text of the page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure_text
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, subtitle=subtitle, tiles=tiles, sections=sections)
