from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from corpus.audio.files import write_audio
from evaluation.speech.listening_page import ScoreSheet, write_page
from recipes.reporting.run_results import Results
from recipes.reporting.sections.quality import quality_section
from runtime.artefact import write_json, write_text


def finished(root: Path) -> Results:
    """A run whose step ``quality`` has two rows and one sheet."""
    audios = {}
    for name, pitch in (("recordings", 200), ("flow", 300)):
        audios[name] = root / f"{name}.flac"
        write_audio(audios[name], np.sin(np.arange(8000) * pitch / 2546).astype(np.float32) / 2)
    folder = root / "quality"
    write_page(folder, [], [], [ScoreSheet(text="red cat", audios=audios, heard={})])
    rows = [{"part": part, "id": id, "text": "red cat", "judge": f"{part} cat"} for part in audios for id in ("a", "b")]
    write_text(folder / "details.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    metrics = {"recordings.utterances": 2, "recordings.judge_wer": 0.02, "flow.utterances": 2, "flow.judge_wer": 0.045}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "done.json", {"fingerprint": "x", "seconds": 1.0})
    steps = {"quality": {"module": "evaluation.quality", "folder": str(folder), "metrics": "quality"}}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": steps})
    return Results(root)


def test_the_table_and_the_sounds_of_each_source(tmp_path: Path) -> None:
    section = quality_section(finished(tmp_path))
    assert section is not None
    scores, sounds = (block for block in section.blocks if block["kind"] == "table")
    assert scores["header"] == ["", "utterances", "judge's WER, %"]
    assert scores["rows"] == [["recordings", "2", "2.00"], ["flow", "2", "4.50"]]
    assert [(row[0], row[2]) for row in sounds["rows"]] == [("recordings", "recordings cat"), ("flow", "flow cat")]
    recorded, made = (row[1]["audio"] for row in sounds["rows"])
    assert recorded.startswith("data:audio/ogg") and recorded != made
    assert len([block for block in section.blocks if block["kind"] == "image"]) == 1
