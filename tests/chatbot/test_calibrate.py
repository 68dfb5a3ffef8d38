from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from chatbot.answers.calibration import highest_threshold, share_below
from chatbot.calibrate import STAGE, CalibrateConfig
from chatbot.settings import ChatSettings
from evaluation.rejection import STAGE as REJECTION
from evaluation.unanswerable.config import RejectionConfig
from evaluation.unanswerable.rejection import count, summarise
from runtime.artefact import file_digest

from .conftest import CAPITALS


@pytest.mark.parametrize("loss", [0.0, 0.03, 0.1, 0.5])
def test_the_threshold_is_the_highest_that_loses_no_more(loss: float) -> None:
    confidences = [0.5 + 0.004 * number for number in range(100)]
    threshold = highest_threshold(confidences, loss)
    assert share_below(confidences, threshold) <= loss < share_below(confidences, threshold + 0.004 + 1e-4)


def test_a_bundle_gets_its_threshold_and_the_evaluation_counts_by_it(chain: Path, tmp_path: Path) -> None:
    manifest = str(chain / "corpus" / "heldout_sentence.jsonl")
    config = CalibrateConfig(
        out=str(tmp_path / "calibrated"), bundle=str(chain / "bundle"), manifest=manifest, wanted_loss=0.3, batch=3
    )
    metrics = STAGE.execute(config)
    assert metrics["questions"] == len(CAPITALS) and 0 < metrics["min_confidence"] < 1 and metrics["loss"] <= 0.3
    rows = [json.loads(line) for line in (tmp_path / "calibrated" / "confidences.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * len(CAPITALS)
    made, given = tmp_path / "calibrated" / "bundle", chain / "bundle" / "bundle"
    for part in ("tokenizer", "lm", "decoder"):
        assert file_digest(made / part) == file_digest(given / part)
    settings = ChatSettings.load(made)
    assert settings.reply.min_confidence == metrics["min_confidence"]
    settings.reply.min_confidence = ChatSettings.load(given).reply.min_confidence
    assert settings == ChatSettings.load(given)

    changed = shutil.copytree(made, tmp_path / "unsure")
    settings.reply.min_confidence = 1.0
    settings.save(changed)
    corpus = shutil.copytree(chain / "corpus", tmp_path / "corpus")
    options = {"corpus": str(corpus), "questions": 2, "sounds": 3}
    counted = REJECTION.execute(RejectionConfig(out=str(tmp_path / "b"), bundle=str(changed), **options))  # type: ignore[arg-type]
    assert (counted["outside"], counted["caught_outside"]) == (40, 1)
    assert (counted["questions"], counted["lost_spoken"], counted["lost_typed"]) == (2, 1, 1)
    assert counted["false_answers"] == round(2 / 3, 5)  # only digital silence is none here
    assert "| | emoji | 8 | 8 |" in (tmp_path / "b" / "rejection.md").read_text()


def test_replies_are_counted_by_part() -> None:
    def record(part: str, group: str, heard: str | None, is_understood: bool) -> dict[str, object]:
        return {"part": part, "group": group, "heard": heard, "is_understood": is_understood}

    records = [
        record("sound", "hum", "", True),
        record("sound", "hum", "who was it", True),
        record("speech", "0 dB SNR", "", True),
        record("speech", "0 dB SNR", "where is it", False),
        record("known", "spoken", "where is it", False),
        record("known", "spoken", "where is it", True),
        record("known", "typed", None, True),
        record("outside", "emoji", None, False),
        record("outside", "emoji", None, True),
    ]
    metrics = summarise(count(records))
    assert metrics["false_answers"] == metrics["missed_speech"] == metrics["lost_spoken"] == 0.5
    assert (metrics["lost_typed"], metrics["caught_outside"]) == (0, 0.5)
