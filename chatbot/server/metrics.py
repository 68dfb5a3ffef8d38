"""Prometheus metrics of the server (``GET /metrics``)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from chatbot.engine.engine import Engine
from chatbot.engine.events import ReplyDone, Usage

from .gate import Gate

LATENCIES = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)


class Metrics:
    """Counters of one server.

    Args:
        engine: its load is read when Prometheus asks.
        gate: so are the requests inside it.

    Attributes:
        requests: HTTP requests and WebSockets by route and status.
        request_seconds: from the first byte of the request to the last of the answer.
        replies: by kind (dialogue: of a talker, over HTTP or Realtime; speech: a text read aloud) and how they ended.
        first_audio_seconds: from the end of the question to the reply's first sample.
        rtf: seconds of making a reply by seconds of its speech.
        tokens: by direction (input, output) and modality (text, audio).
        audio_seconds: of speech made, by kind.
    """

    def __init__(self, engine: Engine, gate: Gate) -> None:
        engine.on_reply.append(self.count_reply)
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "speechweave_requests", "Requests and WebSockets", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "speechweave_request_seconds", "Duration of requests", ["route"], buckets=LATENCIES, registry=registry
        )
        self.replies = Counter("speechweave_replies", "Replies by their end", ["kind", "status"], registry=registry)
        self.first_audio_seconds = Histogram(
            "speechweave_first_audio_seconds",
            "From the question's end to the reply's first sample",
            ["kind"],
            buckets=LATENCIES,
            registry=registry,
        )
        self.rtf = Histogram(
            "speechweave_real_time_factor",
            "Seconds of making a reply by seconds of its speech",
            ["kind"],
            buckets=RATIOS,
            registry=registry,
        )
        self.tokens = Counter(
            "speechweave_tokens", "Tokens read and made", ["direction", "modality"], registry=registry
        )
        self.audio_seconds = Counter("speechweave_audio_seconds", "Speech made", ["kind"], registry=registry)
        for name, text, read in (
            ("talkers", "Dialogues that are open", lambda: engine.load().talkers),
            ("max_talkers", "Dialogues that may be open", lambda: engine.load().max_talkers),
            ("responding", "Dialogues whose reply is being made", lambda: engine.load().responding),
            ("queued_seconds", "Audio that waits to be heard", lambda: engine.load().queued_seconds),
            ("requests_under_way", "Requests and WebSockets that are not yet answered", lambda: gate.num_inside),
        ):
            Gauge(f"speechweave_{name}", text, registry=registry).set_function(read)

    def count_tokens(self, usage: Usage) -> None:
        """Count the tokens of one request."""
        for direction in ("input", "output"):
            for modality in ("text", "audio"):
                self.tokens.labels(direction, modality).inc(getattr(usage, f"{direction}_{modality}"))

    def count_reply(self, done: ReplyDone, audio_seconds: float, kind: str = "dialogue") -> None:
        """Count one reply with ``audio_seconds`` of speech."""
        self.replies.labels(kind, done.status).inc()
        self.count_tokens(done.usage)
        if done.timings.first_audio is not None:
            self.first_audio_seconds.labels(kind).observe(done.timings.first_audio)
        if audio_seconds:
            self.audio_seconds.labels(kind).inc(audio_seconds)
            self.rtf.labels(kind).observe(done.timings.total / audio_seconds)


def make_router(metrics: Metrics) -> APIRouter:
    """The route."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
