"""Table of a served chatbot: right answers, agreement of speech and text, and latency under each condition."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.question_answering.answers import summarise as summarise_answers
from runtime.artefact import atomic_path

from .exchange import ANSWERED

Row = Mapping[str, Any]
Summary = dict[str, float]
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
# key of the summary -> heading, factor, digits
COLUMNS = {
    "questions": ("questions", 1.0, 0),
    "errors": ("not answered", 1.0, 0),
    "speech_to_text_accuracy": ("S→T right, %", 100.0, 1),
    "speech_to_speech_accuracy": ("S→S right, %", 100.0, 1),
    "heard_wer": ("question's WER, %", 100.0, 1),
    "spoken_agreement_wer": ("answer's ASR-WER, %", 100.0, 1),
    "first_audio.p50": ("first audio p50, s", 1.0, 2),
    "first_audio.p90": ("p90, s", 1.0, 2),
    "first_audio.p99": ("p99, s", 1.0, 2),
    "gapped": ("replies with a gap", 1.0, 0),
    "head_start.p99": ("head start p99, s", 1.0, 2),
    "real_time_factor": ("RTF", 1.0, 2),
    "cut": ("ended by a limit", 1.0, 0),
    "early": ("cut in early", 1.0, 0),
    "cpu_seconds": ("server's CPU, s a question", 1.0, 2),
    "load": ("load", 1.0, 1),
}
NOTES = """
First audio: from the end of the question's speech to the first sample of the reply; with `commit` the client signals
the end, with `server_vad` the server waits for silence first. p99 of few questions is their slowest. Gap: a sample that
arrives after it is due, for a player that starts with the first one; the head start is the prebuffer that would have
left no gap. RTF: from the end of the question to the reply's last sample, per second of reply. S→S: by the independent
judge's transcript of the reply. ASR-WER: between that and the reply's own text. Cut in early: the server took a pause
for the end. Load: the machine's, over the last minute; the clients run on the same machine. The server's CPU seconds
do not grow with the load of others.
"""


def summarise(held: Mapping[str, Any], scored: Sequence[dict[str, Any]]) -> Summary:
    """The metrics of one condition, from its exchanges and its rows of `question_answering.answers.score`."""
    records: list[Row] = held["talks"]
    found = {
        "questions": len(records),
        "errors": sum(record["status"] not in ANSWERED for record in records),
        "cut": sum(record["status"] == "incomplete" for record in records),
        "early": sum(record["early"] for record in records),
        "gapped": sum(bool(record["gaps"]) for record in records),
        "load": held["load"],
    }
    if held["cpu_seconds"] is not None:
        found["cpu_seconds"] = round(held["cpu_seconds"] / max(len(records), 1), 3)
    for name in ("first_audio", "head_start"):
        found |= quantiles(name, [record[name] for record in records if record[name] is not None])
    factors = [record["real_time_factor"] for record in records if record["real_time_factor"] is not None]
    if factors:
        found["real_time_factor"] = round(float(np.mean(factors)), 4)
    answers = summarise_answers(list(scored))
    kept = ("speech_to_text_accuracy", "speech_to_speech_accuracy", "heard_wer", "spoken_agreement_wer")
    return found | {key: answers[f"chat.{key}"] for key in kept if f"chat.{key}" in answers}


def quantiles(name: str, values: Sequence[float]) -> Summary:
    """50th, 90th, 95th and 99th percentile, each a value that was seen (the next above)."""
    if not values:
        return {}
    return {
        f"{name}.{key}": round(float(np.quantile(values, share, method="higher")), 4)
        for key, share in QUANTILES.items()
    }


def summarise_interruptions(records: Sequence[Row]) -> Summary:
    """Time until interrupted replies were silent, and the speech that arrived after that, in seconds."""
    stopped = [record for record in records if record["stop"] is not None]
    found: Summary = {"cases": len(records), "errors": len(records) - len(stopped)}
    return (
        found
        | quantiles("stop", [record["stop"] for record in stopped])
        | quantiles("late", [record["late"] for record in stopped])
    )


def markdown(rows: Mapping[str, Summary], interruptions: Mapping[str, Summary], machine: str) -> str:
    """The table, a row a condition, with the machine above and what the columns mean below."""
    columns = [key for key in COLUMNS if any(key in row for row in rows.values())]
    lines = [machine, "", *line(["turn . clients", *(COLUMNS[key][0] for key in columns)], is_head=True)]
    for label, row in rows.items():
        lines += line([label, *(cell(row.get(key), *COLUMNS[key][1:]) for key in columns)])
    if interruptions:
        lines += ["", "Replies interrupted by the client:", ""]
        head = ["turn", "replies", "errors", "silent after p50, s", "p99, s", "speech after that p99, s"]
        lines += line(head, is_head=True)
        for label, row in interruptions.items():
            keys = {"cases": 0, "errors": 0, "stop.p50": 3, "stop.p99": 3, "late.p99": 3}
            lines += line([label, *(cell(row.get(key), 1.0, digits) for key, digits in keys.items())])
    return "\n".join(lines) + "\n" + NOTES


def line(cells: Sequence[str], *, is_head: bool = False) -> list[str]:
    """A line of a Markdown table, with the rule below it if it is the head."""
    return [f"| {' | '.join(cells)} |"] + (["|" + " --- |" * len(cells)] if is_head else [])


def cell(value: float | None, factor: float, digits: int) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value * factor:.{digits}f}"


def draw_latency(file: Path, waits: Mapping[str, Sequence[float]]) -> None:
    """Write a PNG: the distribution of the time to first audio under each condition."""
    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    turns = sorted({label.split(".")[0] for label in waits})
    for number, (label, values) in enumerate(waits.items()):
        turn = label.split(".")[0]
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        shares = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        style = "-" if turns.index(turn) == 0 else "--"
        axes.step(np.r_[0, ordered], np.r_[0, shares], style, where="post", label=label, color=f"C{number % 10}")
    for bar, words in ((0.5, "goal"), (1.5, "bar")):
        axes.axvline(bar, color="#888888", linewidth=0.8, linestyle=":")
        axes.text(bar, 0.02, f" {words} {bar:g} s", fontsize=7, color="#555555")
    axes.set(
        xlabel="seconds from the end of the question to the first audio", ylabel="share of replies", ylim=(0, 1.02)
    )
    axes.set_xlim(left=0)
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(file) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def describe_machine() -> str:
    """Processor, cores and versions of this machine, in one line."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.machine()}, {cores} cores; Python {platform.python_version()}, {versions}"
