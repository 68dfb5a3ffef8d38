"""Route ``/v1/models``: the served model, under its own name and its aliases."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from chatbot.engine.engine import Engine

from .errors import ApiError, responses
from .options import ServerOptions


class Model(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "speechweave"
    voices: list[str]
    sample_rate: int


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


def check_model(name: str, engine: Engine, options: ServerOptions) -> None:
    """Raise 404 unless ``name`` is the model that is served."""
    if name != engine.model_name and name not in options.aliases:
        message = f"No model {name[:100]!r}; this server has {engine.model_name!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


def make_router(engine: Engine, options: ServerOptions, created: int) -> APIRouter:
    """The routes; ``created`` is a Unix time."""
    router = APIRouter(tags=["models"])

    def describe(name: str) -> Model:
        return Model(id=name, created=created, voices=list(engine.voices), sample_rate=engine.sample_rate)

    @router.get("/v1/models", responses=responses())
    async def list_models() -> ModelList:
        """The models that this server has."""
        return ModelList(data=[describe(name) for name in (engine.model_name, *options.aliases)])

    @router.get("/v1/models/{name}", responses=responses(400, 404))
    async def show_model(name: str) -> Model:
        """One model."""
        check_model(name, engine, options)
        return describe(name)

    return router
