from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from corpus.audio.files import write_audio
from evaluation.question_answering.conversations import summarise_conversations
from recipes.reporting.run_results import Results
from recipes.reporting.sections.dialogues import dialogue_section
from runtime.artefact import write_json


def test_a_row_for_each_relation_and_dialogues_with_sound(tmp_path: Path) -> None:
    write_audio(tmp_path / "question.flac", np.full(3200, 0.1, np.float32))
    row = {"part": "dialogue", "audio": str(tmp_path / "question.flac"), "question": "who was it", "answer": "tom"}
    rows: list[dict[str, Any]] = [
        row | {"relation": relation, "said": said, "reply_audio": None, "is_text_right": said == "it was tom"}
        for relation, said in (("first", "it was tom"), ("followup", "it was tom"), ("followup", ""), ("first", ""))
    ]
    for one in rows:
        one["is_speech_right"] = False
    metrics = summarise_conversations(rows)
    assert metrics["dialogue.questions.followup"] == 2
    assert metrics["dialogue.speech_to_text_accuracy.first"] == 0.5
    assert metrics["dialogue.speech_to_speech_accuracy.followup"] == 0.0
    assert "dialogue.questions.independent" not in metrics
    root = tmp_path / "run"
    steps = {"evaluation": {"module": "evaluation.run", "folder": str(root / "evaluation"), "metrics": ""}}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": steps})
    write_json(root / "evaluation" / "done.json", {"fingerprint": "x", "seconds": 1.0})
    write_json(root / "evaluation" / "metrics.json", metrics)
    details = root / "evaluation" / "details.jsonl"
    details.write_text("".join(json.dumps(one) + "\n" for one in rows))
    section = dialogue_section(Results(root))
    assert section is not None
    tables = [block["rows"] for block in section.blocks if block["kind"] == "table"]
    assert [row[1] for row in tables[0]] == [2, 2]
    assert [len(table) for table in tables[1:]] == [3, 1]
    assert tables[1][2][2] == {"text": "(nothing)", "mark": "wrong"}
    details.write_text("")
    assert dialogue_section(Results(root)) is None
