"""Latency metrics of spoken replies under the names of ``vllm bench serve --omni``.

All times begin at the end of the question's speech. Over the Realtime protocol with ``commit`` and over chat
completions this is the moment at which the talker ends the turn; with ``server_vad`` it is the last audible sample, so
that the silence for which the server waits is a part of every time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from evaluation.served_chat.exchange import ANSWERED, Exchange
from evaluation.served_chat.records import audible_gaps, rounded
from evaluation.served_chat.table import QUANTILES, quantiles


class ServingMetric(NamedTuple):
    """A metric: its name, its unit, and its definition."""

    name: str
    unit: str
    definition: str


METRICS = (
    ServingMetric("ttft", "s", "from the end of the question's speech to the arrival of the reply's first text"),
    ServingMetric("audio_ttfp", "s", "from the end of the question's speech to the arrival of the first audio packet"),
    ServingMetric(
        "audio_rtf", "", "from the end of the question's speech to the last audio packet, per second of reply"
    ),
    ServingMetric("e2el", "s", "from the end of the question's speech until the server ends the reply"),
    ServingMetric("audio_duration", "s", "length of the reply's speech"),
    ServingMetric(
        "audio_underrun",
        "s",
        "silence within a reply for a player without a prebuffer: the sum of its gaps of more than 1 ms",
    ),
)


def request_record(exchange: Exchange) -> dict[str, Any]:
    """All metrics of one request, None where it has none, with its end."""
    gaps, has_audio = audible_gaps(exchange), exchange.seconds > 0
    return {
        "id": exchange.id,
        "status": exchange.status,
        "reason": exchange.reason,
        "ttft": rounded(exchange.first_text_seconds),
        "audio_ttfp": rounded(exchange.first_audio_seconds),
        "audio_rtf": rounded(exchange.real_time_factor),
        "e2el": rounded(exchange.end_to_end_seconds),
        "audio_duration": rounded(exchange.seconds) if has_audio else None,
        "audio_underrun": rounded(sum(gaps)) if has_audio else None,
        "gaps": gaps,
    }


def summarise_requests(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Counts, and for each metric its number of values and its percentiles; failed requests are counted, not timed."""
    answered = [record for record in records if record["status"] in ANSWERED]
    found: dict[str, float] = {
        "requests": len(records),
        "failures": len(records) - len(answered),
        "without_audio": sum(record["audio_duration"] is None for record in answered),
        "gapped": sum(bool(record["gaps"]) for record in answered),
        "gaps": sum(len(record["gaps"]) for record in answered),
        "longest_gap": max((gap for record in answered for gap in record["gaps"]), default=0.0),
    }
    for metric in METRICS:
        values = [record[metric.name] for record in answered if record[metric.name] is not None]
        found |= {f"{metric.name}.n": len(values)} | quantiles(metric.name, values)
    return found


def is_slowest(count: int, quantile: str) -> bool:
    """Whether a percentile of ``count`` values is no more than the slowest of them."""
    return count > 0 and math.ceil(QUANTILES[quantile] * (count - 1)) == count - 1
