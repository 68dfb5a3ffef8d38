"""The server's application: every route over one engine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from chatbot.engine.engine import Engine
from chatbot.page import routes as page
from chatbot.realtime import routes as realtime

from . import completions, models, speech, transcriptions
from . import metrics as metrics_route
from .access import Access
from .description import describe
from .errors import add_error_handlers
from .gate import Gate
from .metrics import Metrics
from .options import ServerOptions


class Health(BaseModel):
    """State of the server."""

    status: Literal["ok", "stopping"]
    model: str
    talkers: int
    max_talkers: int


def create_app(engine: Engine, options: ServerOptions | None = None) -> FastAPI:
    """The server's application; it closes ``engine`` when it stops.

    ``app.state.gate`` is the gate before all routes, ``app.state.sockets`` the open Realtime connections, and
    ``app.state.metrics`` the counters.
    """
    options = options or ServerOptions()
    gate = Gate(options)
    metrics = Metrics(engine, gate)
    dialogues = realtime.make_router(engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await dialogues.connections.close()
        await engine.close(options.grace_seconds)

    app = FastAPI(
        title="speechweave", description="A spoken chatbot.", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.engine, app.state.gate, app.state.metrics = engine, gate, metrics
    app.state.sockets = dialogues.connections
    add_error_handlers(app)
    app.include_router(models.make_router(engine, options, int(time.time())))
    app.include_router(completions.make_router(engine, options))
    for route in (speech, transcriptions):
        app.include_router(route.make_router(engine, options, metrics))
    app.include_router(dialogues)
    app.include_router(metrics_route.make_router(metrics))
    app.include_router(page.make_router(engine, needs_key=options.needs_key))

    @app.get("/healthz", responses={503: {"model": Health, "description": "About to stop"}})
    async def healthz(response: Response) -> Health:
        """Whether the server takes requests: 200, or 503 when it is about to stop."""
        load = engine.load()
        status: Literal["ok", "stopping"] = "stopping" if gate.is_closing else "ok"
        response.status_code = 503 if gate.is_closing else 200
        return Health(status=status, model=engine.model_name, talkers=load.talkers, max_talkers=load.max_talkers)

    describe(app, engine, options)
    app.add_middleware(gate.before)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(Access, metrics=metrics)
    return app
