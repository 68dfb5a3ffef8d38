from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.load_test.config import ServingConfig
from evaluation.load_test.metrics import is_slowest, request_record, summarise_requests
from evaluation.load_test.page import Measurement, ServingPage, draw_latencies, html, markdown
from evaluation.served_chat.exchange import REALTIME_RATE, Exchange
from evaluation.served_chat.playback import Arrival
from runtime.errors import UserError

SECOND = REALTIME_RATE


def exchange(name: str = "q", arrivals: tuple[tuple[float, float], ...] = (), **changes: Any) -> Exchange:
    """An exchange whose question ended at 100.0; ``arrivals`` are (time, seconds of speech)."""
    pieces = [np.zeros(int(seconds * SECOND), np.int16) for _, seconds in arrivals]
    made = [Arrival(at, len(piece)) for (at, _), piece in zip(arrivals, pieces, strict=True)]
    options = {"speech_ended": 100.0, "status": "completed"} | changes
    return Exchange(id=name, pieces=pieces, arrivals=made, **options)


def test_each_metric_runs_from_the_end_of_the_question() -> None:
    made = exchange(arrivals=((100.5, 1.0), (101.0, 1.0)), first_text=100.2, ended=101.25)
    assert request_record(made) == {
        "id": "q",
        "status": "completed",
        "reason": "",
        "ttft": pytest.approx(0.2),
        "audio_ttfp": 0.5,
        "audio_rtf": 0.5,  # the last packet after 1.0 s, 2.0 s of speech
        "e2el": 1.25,
        "audio_duration": 2.0,
        "audio_underrun": 0.0,
        "gaps": [],
    }


def test_gaps_are_the_silences_of_a_player_without_a_prebuffer() -> None:
    # Played from 100.5; out of samples from 101.0 until 101.3, and from 101.8 until 102.0; the last piece is early.
    arrivals = ((100.5, 0.5), (101.3, 0.5), (102.0, 1.0), (102.1, 0.5))
    record = request_record(exchange(arrivals=arrivals, ended=102.1))
    assert record["gaps"] == [0.3, 0.2]
    assert record["audio_underrun"] == 0.5
    assert record["audio_rtf"] == pytest.approx(2.1 / 2.5)
    inaudible = request_record(exchange(arrivals=((100.5, 0.5), (101.0005, 0.5))))
    assert (inaudible["gaps"], inaudible["audio_underrun"]) == ([], 0)


def test_a_reply_without_speech_or_text_has_no_such_times() -> None:
    silent = request_record(exchange(ended=100.4, first_text=100.3))
    assert (silent["audio_ttfp"], silent["audio_rtf"], silent["audio_underrun"]) == (None, None, None)
    assert (silent["ttft"], silent["e2el"]) == (pytest.approx(0.3), pytest.approx(0.4))
    assert request_record(exchange(arrivals=((100.5, 1.0),)))["ttft"] is None


def test_failures_are_counted_and_not_timed() -> None:
    good = exchange("good", ((100.5, 0.5), (101.25, 0.5)), first_text=100.2, ended=101.3)
    cut = exchange("cut", ((101.0, 1.0),), first_text=100.4, ended=101.0, status="incomplete")
    broken = exchange("broken", ((109.0, 1.0),), first_text=108.0, ended=109.0, status="error", reason="closed")
    silent = exchange("silent", ended=100.1)
    found = summarise_requests([request_record(each) for each in (good, cut, broken, silent)])
    assert {key: found[key] for key in ("requests", "failures", "without_audio", "gapped", "gaps")} == {
        "requests": 4,
        "failures": 1,
        "without_audio": 1,
        "gapped": 1,
        "gaps": 1,
    }
    assert found["longest_gap"] == 0.25
    assert (found["audio_ttfp.n"], found["ttft.n"], found["e2el.n"]) == (2, 2, 3)
    assert (found["audio_ttfp.p50"], found["audio_ttfp.p99"]) == (1.0, 1.0)  # of two: the next above the middle
    assert found["e2el.p50"] == 1.0
    nothing = summarise_requests([request_record(broken)])
    assert (nothing["failures"], nothing["e2el.n"], "e2el.p50" in nothing) == (1, 0, False)


@pytest.mark.parametrize(
    ("count", "quantile", "expected"),
    [
        (0, "p50", False),
        (1, "p50", True),
        (3, "p50", False),
        (10, "p90", True),
        (11, "p90", False),
        (20, "p95", True),
        (21, "p95", False),
        (100, "p99", True),
        (101, "p99", False),
    ],
)
def test_a_percentile_of_few_is_known_to_be_the_slowest(count: int, quantile: str, expected: bool) -> None:
    assert is_slowest(count, quantile) is expected
    if count:
        records = [request_record(exchange(arrivals=((100.0 + n, 1.0),))) for n in range(1, count + 1)]
        found = summarise_requests(records)
        assert (found[f"audio_ttfp.{quantile}"] == count) is expected


def test_the_page_marks_percentiles_of_few_and_says_how_many(tmp_path: Any) -> None:
    def level(talkers: int, count: int) -> Measurement:
        records = [request_record(exchange(arrivals=((100.0 + n, 1.0),))) for n in range(1, count + 1)]
        return Measurement(talkers, summarise_requests(records), 0.5, None)

    page = ServingPage("<bundle>", "realtime", "machine", [level(1, 4), level(2, 120)])
    text = markdown(page)
    assert "| 1 | 4 | 3.000 | 4.000\\* | 4.000\\* | 4.000\\* |" in text
    assert "| 2 | 120 | 61.000 | 109.000 | 115.000 | 119.000 |" in text
    draw_latencies(tmp_path / "serving.png", page.rows)
    shown = html(page, tmp_path / "serving.png")
    assert "<td>4.000*</td>" in shown
    assert "&lt;bundle&gt;" in shown
    assert "data:image/png;base64," in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"talkers": []}, "option talkers"),
        ({"talkers": [2, 2]}, "option talkers"),
        ({"talkers": [0]}, "option talkers"),
        ({"talkers": [1, 16], "requests": 8}, "option requests.*give 16 or more"),
        ({"interface": "chat_completions", "turn": "server_vad"}, "option turn"),
        ({"interface": "http"}, "option interface"),
    ],
)
def test_nonsense_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ServingConfig(**({"out": "out", "model": "bundle", "data": "corpus"} | changes))
