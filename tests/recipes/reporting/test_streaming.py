"""The report's section on streaming thoughts: right slots with intervals, tokens and time before the first sound."""

from __future__ import annotations

from pathlib import Path

from recipes.reporting.run_results import Results
from recipes.reporting.sections.streaming import RATES, streaming_section
from runtime.artefact import write_json, write_text


def mean(value: float) -> dict[str, object]:
    return {"micro": value, "interval": [value - 0.1, value + 0.1]}


def write_step(root: Path, name: str, rate: float, tokens: float, seconds: float) -> None:
    scores = {key: mean(rate) for key in (*RATES, "floor_wer")}
    scores |= {"tokens_before_speech": mean(tokens), "speech_blocks": mean(3)}
    write_json(root / f"{name}_scores/scores.json", scores)
    write_text(root / f"{name}_scores/details.jsonl", '{"question": "q", "said": "s", "judge": "j"}\n')
    write_json(root / f"{name}_answers/metrics.json", {"seconds_to_first_sound": seconds})
    for part in ("scores", "answers"):
        write_json(root / f"{name}_{part}/done.json", {"seconds": 1.0})


def results_of(root: Path, *steps: str) -> Results:
    entries = {step: {"module": "any", "folder": str(root / step), "metrics": None} for step in steps}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": entries})
    return Results(root)


def test_settings_stand_beside_each_other(tmp_path: Path) -> None:
    write_step(tmp_path, "text_first", 0.8, 31, 0.25)
    write_step(tmp_path, "streaming", 0.7, 13, 0.125)
    steps = [f"{name}_{part}" for name in ("text_first", "streaming") for part in ("scores", "answers")]
    section = streaming_section(results_of(tmp_path, *steps))
    assert section is not None
    table, *replies = [block for block in section.blocks if block["kind"] == "table"]
    first, second = table["rows"]
    assert first[1] == "80.0 % (70.0 % to 90.0 %)" and second[1] == "70.0 % (60.0 % to 80.0 %)"
    assert first[-3:] == ["31.0", "3.0", "250 ms"] and second[-3:] == ["13.0", "3.0", "125 ms"]
    assert [block["rows"] for block in replies] == [[["q", "s", "j"]]] * 2


def test_no_section_without_scores(tmp_path: Path) -> None:
    write_json(tmp_path / "corpus/done.json", {"seconds": 1.0})
    assert streaming_section(results_of(tmp_path, "corpus")) is None
