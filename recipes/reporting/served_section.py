"""The report's section on the served chatbot: what people who talk to it get, and how long they wait."""

from __future__ import annotations

import base64
from typing import Any

from evaluation.served_chat.table import COLUMNS, cell

from .page import Section
from .run_results import Results

STEP = "served"


def served_section(results: Results) -> Section | None:
    """The table of `evaluation.chat` with the picture of its waits."""
    folder, own = results.folder(STEP), results.metrics_of(STEP)
    if folder is None or not own:
        return None
    section = Section("Talking to the served chatbot")
    section.text(
        "Held-out questions, spoken at the pace of speech over the Realtime protocol to a server on this machine, by "
        "one talker and by several at once. With commit the talker tells that the question is over, with server_vad "
        "the server hears it by the silence. First audio counts from the end of the speech; a gap is a sample that "
        "came after it was due. S→S is judged by what the outside recogniser hears."
    )
    rows = labelled(own)
    conditions = {label: row for label, row in rows.items() if "questions" in row}
    columns = [key for key in COLUMNS if any(key in row for row in conditions.values())]
    table = [[label, *(cell(row.get(key), *COLUMNS[key][1:]) for key in columns)] for label, row in conditions.items()]
    section.table(["turn . talkers", *(COLUMNS[key][0] for key in columns)], table)
    interrupted = {label: row for label, row in rows.items() if "cases" in row}
    if interrupted:
        section.heading("Interrupted replies")
        keys = {"cases": 0, "errors": 0, "stop.p50": 3, "stop.p99": 3, "late.p99": 3}
        section.table(
            ["turn", "replies", "errors", "silent after p50, s", "p99, s", "speech after that p99, s"],
            [
                [label, *(cell(row.get(key), 1.0, digits) for key, digits in keys.items())]
                for label, row in interrupted.items()
            ],
        )
    picture = base64.b64encode((folder / "latency.png").read_bytes()).decode()
    section.image(f"data:image/png;base64,{picture}", "share of replies by the time of their first audio")
    return section


def labelled(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Metrics ``<turn>.<talkers>.<key>`` as a row for each ``<turn>.<talkers>``."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        turn, talkers, key = name.split(".", 2)
        rows.setdefault(f"{turn}.{talkers}", {})[key] = value
    return rows
