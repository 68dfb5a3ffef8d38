"""Listening page: the same utterances from each source next to each other, with spectrograms and the quality table.

Sounds are copied into the page's folder, so that it can be sent to listeners.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from runtime.artefact import atomic_path, write_text

from .score_sheet import draw_sheet

TEMPLATE = Path(__file__).with_name("listening.html.j2")


@dataclass(frozen=True, kw_only=True)
class ScoreSheet:
    """One utterance from each source.

    Attributes:
        text: of the utterance.
        audios: name of the source -> sound file.
        heard: name of the source -> the judge's transcript, where there is one.
    """

    text: str
    audios: Mapping[str, Path]
    heard: Mapping[str, str]


def write_page(
    folder: Path, header: Sequence[str], rows: Sequence[Sequence[str]], sheets: Sequence[ScoreSheet]
) -> None:
    """Write ``listening.html``, ``sheets/*.png`` and ``sounds/`` into a folder.

    Args:
        folder: of the page.
        header: of the table, the first cell for the source.
        rows: of the table, one for each source.
        sheets: the utterances.
    """
    shown: list[dict[str, Any]] = []
    for number, sheet in enumerate(sheets, 1):
        picture = f"sheets/{number:02d}.png"
        draw_sheet(folder / picture, sheet.text, sheet.audios)
        sounds = []
        for name, audio in sheet.audios.items():
            file = f"sounds/{number:02d}-{name}{audio.suffix}"
            (folder / file).parent.mkdir(exist_ok=True)
            with atomic_path(folder / file) as temporary:
                shutil.copyfile(audio, temporary)
            sounds.append({"name": name, "file": file, "heard": sheet.heard.get(name, "–")})
        shown.append({"anchor": f"sheet-{number}", "text": sheet.text, "sounds": sounds, "picture": picture})
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    note = "" if shown else "No sheet was asked for."
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        header=header, rows=rows, sheets=shown, note=note
    )
    write_text(folder / "listening.html", page)
