"""The served chatbot under load: right answers, latency and interruptions for each number of concurrent clients."""

from __future__ import annotations

from typing import Any

from evaluation.served_chat.table import COLUMNS, cell
from recipes.reporting.blocks import Section, png_uri
from recipes.reporting.run_results import Results

MODULE = "evaluation.chat"


def served_section(results: Results) -> Section | None:
    """The table of `evaluation.chat` and its distribution of latencies."""
    step = results.step_of(MODULE)
    folder = results.folder(step) if step else None
    if step is None or folder is None:
        return None
    section = Section("Talking to the served chatbot")
    section.text(
        "Held-out questions, spoken at the pace of speech over the Realtime protocol to a server on this machine, by "
        "one client and by several at once. With commit the client ends the question, with server_vad the server, "
        "after silence. First audio counts from the end of the speech; a gap is a sample that arrived after it was "
        "due. S→S is judged by the transcript of the independent recogniser."
    )
    rows = labelled(results.metrics_of(step))
    conditions = {label: row for label, row in rows.items() if "questions" in row}
    columns = [key for key in COLUMNS if any(key in row for row in conditions.values())]
    table = [[label, *(cell(row.get(key), *COLUMNS[key][1:]) for key in columns)] for label, row in conditions.items()]
    section.table(["turn . clients", *(COLUMNS[key][0] for key in columns)], table)
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
    picture = png_uri((folder / "latency.png").read_bytes())
    section.image(picture, "share of replies by the time of their first audio")
    return section


def labelled(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Metrics ``<turn>.<talkers>.<key>`` as a row for each ``<turn>.<talkers>``."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        turn, talkers, key = name.split(".", 2)
        rows.setdefault(f"{turn}.{talkers}", {})[key] = value
    return rows
