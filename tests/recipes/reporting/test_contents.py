"""Contents of the report: headline metrics, and the small parts of its sections."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from corpus.audio.files import write_audio
from recipes.reporting.blocks import figure_text, percent
from recipes.reporting.contents import headline_tiles
from recipes.reporting.figures import smoothed
from recipes.reporting.run_results import Results
from recipes.reporting.sections.answers import spread
from recipes.reporting.sections.browser_page import browser_section
from recipes.reporting.sections.further_evaluations import further_section
from recipes.reporting.sections.interleaving import pieces_of
from runtime.artefact import write_json
from runtime.stage import Headline, Stage, StageConfig


def test_rendered_documents_are_cut_at_speech() -> None:
    pieces = pieces_of("now the ball ‹24 speech: 7 7 31 …› in the box <|endoftext|>")
    assert [piece["is_speech"] for piece in pieces] == [False, True, False]
    assert pieces[1] == {"is_speech": True, "text": "24 speech: 7 7 31 …", "count": 24}
    assert pieces[2]["text"] == "in the box <|endoftext|>"


def test_numbers_for_people() -> None:
    assert [figure_text(value) for value in (1234567, 0.12345, 12.34, 3.0)] == ["1,234,567", "0.123", "12.3", "3"]
    assert [percent(0.123), percent(None)] == ["12.3 %", "–"]


def test_spread_takes_the_whole_range() -> None:
    rows = [{"id": number} for number in range(10)]
    assert [row["id"] for row in spread(rows, 5)] == [0, 2, 4, 6, 8]
    assert spread(rows, 20) == rows


def test_smoothing_keeps_a_constant() -> None:
    assert all(abs(value - 2.0) < 1e-9 for value in smoothed([2.0] * 20))


def run_of(root: Path, modules: dict[str, str], metrics: dict[str, dict[str, float]]) -> Results:
    """A finished run: step -> module and step -> its metrics; the metrics' prefix is the step's name."""
    steps = {step: {"module": name, "folder": str(root / step), "metrics": step} for step, name in modules.items()}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": steps})
    for step in steps:
        write_json(root / step / "done.json", {"fingerprint": "x", "seconds": 1.0})
        write_json(root / step / "metrics.json", metrics.get(step, {}))
    return Results(root)


def test_a_line_separator_in_a_transcript_ends_no_record(tmp_path: Path) -> None:
    results, row = run_of(tmp_path, {"chat": "chatbot.respond"}, {}), {"said": "one\u2028two\x85three"}
    lines = json.dumps(row, ensure_ascii=False) + "\n"
    (tmp_path / "chat" / "answers.jsonl").write_text(lines * 2, encoding="utf-8")
    assert results.lines("chat", "answers.jsonl") == [row, row]


def test_an_evaluation_is_shown_by_declaring_its_headlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new evaluation needs its stage file only: its headline metrics become tiles and rows."""
    headlines = (
        Headline("rate", "shown as a rate"),
        Headline("count", "shown", is_rate=False),
        Headline("absent", "-"),
    )
    stage = Stage(
        name="new.evaluation", config=StageConfig, implementation="new_evaluation:run", summary="",
        inputs=lambda config: [], example="", headlines=headlines,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "new_evaluation", SimpleNamespace(STAGE=stage))
    modules = {"new": "new_evaluation", "baseline": "new_evaluation", "tokenizer": "tokenizer.evaluate"}
    own = {"rate": 0.25, "count": 7, "unlisted": 3}
    results = run_of(tmp_path, modules, {"new": own, "baseline": own, "tokenizer": {"wer_with_vq": 0.125}})
    assert [tile.value for tile in headline_tiles(results)] == ["12.5 %", "25.0 %", "7"]  # known ones come first
    section = further_section(results)
    assert section is not None
    assert section.blocks[0]["rows"] == [["new", "shown as a rate", "25.0 %"], ["new", "shown", 7]]
    assert further_section(run_of(tmp_path / "other", {"tokenizer": "tokenizer.evaluate"}, {})) is None


def test_the_browser_is_shown_when_it_was_asked(tmp_path: Path) -> None:
    results = run_of(tmp_path, {"corpus": "corpus.build"}, {})
    assert browser_section(results) is None
    page = tmp_path / "page"
    (page / "screens").mkdir(parents=True)
    for name in ("1280-dark", "1280-light", "360-dark", "360-light"):
        (page / "screens" / f"{name}.png").write_bytes(name.encode())
    write_audio(page / "audio" / "a.wav", np.zeros(2400, np.float32), 24000)
    row = {"question": "what is one plus one", "way": "hands-free", "heard": "what is one plus one", "said": "two"}
    row |= {"answer": "two", "judge": "", "is_text_right": True, "is_speech_right": False}
    spoken = row | {"reply_audio": "audio/a.wav", "seconds": 0.5}
    (page / "page.jsonl").write_text(
        json.dumps(spoken) + "\n" + json.dumps(row | {"reply_audio": "none.wav", "seconds": None})
    )
    (page / "page.json").write_text(json.dumps({"interrupted_ms": 12}))
    section = browser_section(results)
    assert section is not None
    table = next(block for block in section.blocks if block["kind"] == "table")
    assert [cells[-1] for cells in table["rows"]] == ["0.50 s", "–"]
    assert table["rows"][0][-3]["audio"].startswith("data:audio/ogg")
    assert table["rows"][0][-2] == {"text": "(nothing)", "mark": "wrong"}
    shown = [[text for _, text in block["pictures"]] for block in section.blocks if block["kind"] == "images"]
    assert shown == [
        ["the page, 1280 pixels wide, dark", "the page, 1280 pixels wide, light"],
        ["the page, 360 pixels wide, dark", "the page, 360 pixels wide, light"],
    ]
