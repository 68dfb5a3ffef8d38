"""The web page in a browser: spoken questions asked there, and its screenshots.

``speechweave evaluate page`` leaves its folder ``page/`` in the run folder; without it there is no section.
"""

from __future__ import annotations

from recipes.reporting.blocks import Section, marked, png_uri, sound
from recipes.reporting.run_results import Results, records_of
from runtime.artefact import read_json


def browser_section(results: Results) -> Section | None:
    """The questions asked on the page of this run's chatbot, and screenshots."""
    folder = results.root / "page"
    if not (folder / "page.json").is_file():
        return None
    section = Section("The page in a browser")
    summary = read_json(folder / "page.json")
    section.text(
        "Held-out questions, played into the microphone of a headless Chromium that shows the served page, asked with "
        "the space bar held (push to talk) and hands-free. What the page played was recorded at its loudspeaker and "
        "transcribed by the judge. First sound: seconds from the end of the question, as the page itself shows them."
    )
    rows = records_of(folder / "page.jsonl")
    header = ["asked", "how", "heard", "said", "key", "as played", "by the judge", "first sound"]
    section.table(
        header,
        [
            [
                row["question"],
                row["way"],
                marked(row["heard"], row["heard"] == row["question"]),
                marked(row["said"], row["is_text_right"]),
                row["answer"],
                sound(None if row["seconds"] is None else folder / row["reply_audio"]),
                marked(row["judge"], row["is_speech_right"]),
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
    described = [
        (png_uri(file.read_bytes()), f"the page, {file.stem.replace('-', ' pixels wide, ')}") for file in screens
    ]
    for start in range(0, len(described), 2):
        section.images(described[start : start + 2])
    return section
