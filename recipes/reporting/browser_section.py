"""The report's section on the web page: spoken questions asked in a browser, and how the page looked.

``speechweave evaluation page`` leaves its folder ``page/`` in the run folder; without it there is no section.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from runtime.artefact import read_json

from .page import Section, audio_uri


def picture_uri(file: Path) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def browser_section(root: Path) -> Section | None:
    """What came of talking to the page of this run's chatbot."""
    folder = root / "page"
    if not (folder / "page.json").is_file():
        return None
    section = Section("The page in a browser")
    summary = read_json(folder / "page.json")
    section.text(
        "Held-out questions, played into the microphone of a headless Chromium that shows the served page, asked with "
        "the space bar held (push to talk) and hands-free. What the page played was recorded at its loudspeaker and "
        "transcribed by the judge. First sound: seconds from the end of the question, as the page itself shows them."
    )
    rows = [json.loads(line) for line in (folder / "page.jsonl").read_text(encoding="utf-8").splitlines()]
    header = ["asked", "how", "heard", "said", "key", "as played", "by the judge", "first sound"]
    section.table(
        header,
        [
            [
                row["question"],
                row["way"],
                {"text": row["heard"], "mark": "right" if row["heard"] == row["question"] else "wrong"},
                {"text": row["said"], "mark": "right" if row["is_text_right"] else "wrong"},
                row["answer"],
                {"audio": audio_uri(folder / row["reply_audio"])} if row["seconds"] is not None else "–",
                {"text": row["judge"] or "(nothing)", "mark": "right" if row["is_speech_right"] else "wrong"},
                "–" if row["seconds"] is None else f"{row['seconds']:.2f} s",
            ]
            for row in rows
        ],
    )
    if summary["interrupted_ms"] is not None:
        section.text(
            f"The space bar pressed during an answer: the last sound came {summary['interrupted_ms']} ms later, by the "
            "page's own clock and without what the loudspeaker's driver holds."
        )
    screens = sorted((folder / "screens").glob("*.png"), key=lambda file: (-int(file.stem.split("-")[0]), file.stem))
    described = [(picture_uri(file), f"the page, {file.stem.replace('-', ' pixels wide, ')}") for file in screens]
    for start in range(0, len(described), 2):
        section.images(described[start : start + 2])
    return section
