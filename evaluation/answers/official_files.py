"""Files of a benchmark's own scripts: its rows with a model's answers."""

from __future__ import annotations

import json
from typing import Any

from evaluation.benchmarks.table import BENCHMARKS
from runtime.artefact import atomic_folder
from runtime.errors import UserError
from runtime.stage import Run

from .answer_file import read_answers
from .config import OfficialFilesConfig

FOLDER = "files"


def write_official_files(config: OfficialFilesConfig, run: Run) -> dict[str, Any]:
    """Write one file for each name that the benchmark gives; returns their number and that of the rows.

    Raises:
        UserError: the benchmark has no such files, or there are no answers in this medium.
    """
    benchmark = BENCHMARKS[config.benchmark]
    if benchmark.official_row is None and benchmark.official_files is None:
        known = (name for name, one in BENCHMARKS.items() if one.official_row or one.official_files)
        remedy = f"choose from {', '.join(known)}"
        raise UserError(f"benchmark {benchmark.name}", found="its scripts read no file of answers", remedy=remedy)
    answered = read_answers(config.answers, benchmark, config.data, config.max_bad_share)
    found = answered.found
    lines: dict[str, list[str]] = {}
    missing = 0
    for item in found.items:
        answer = answered.answers[item.id]
        said = answer.said(config.medium)
        missing += said is None
        if benchmark.official_files is not None:
            heard = (answer.transcript or "") if config.medium == "speech" else answer.transcript
            rows_by_file = benchmark.official_files(item, answer.text or "", heard)
        else:
            assert benchmark.official_row is not None
            file = benchmark.official_file(item, answered.header.model.replace("/", "_"), answered.header.direction)
            rows_by_file = {file: benchmark.official_row(item, said or "")}
        for file, row in rows_by_file.items():
            lines.setdefault(file, []).append(json.dumps(dict(row), ensure_ascii=False) + "\n")
    if missing == len(found.items):
        remedy = "choose the other medium (text, speech)"
        raise UserError("option medium", found=f"no answer in {config.medium}", remedy=remedy)
    with atomic_folder(run.folder / FOLDER) as folder:
        for file, rows in lines.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("".join(rows), encoding="utf-8")
    return {"files": len(lines), "rows": len(found.items), "without_answer": missing}
