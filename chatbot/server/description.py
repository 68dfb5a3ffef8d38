"""OpenAPI schema of the routes (``/openapi.json``), with the names of model and voices and the API key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from chatbot.engine.engine import Engine
from chatbot.engine.voices import DEFAULT_VOICE, OPENAI_VOICES

from .options import ServerOptions

VOICED = ("AudioOutput", "SpeechRequest")
ASKING = ("CompletionRequest", "SpeechRequest", "TranscriptionForm")


def describe(app: FastAPI, engine: Engine, options: ServerOptions) -> None:
    """Let ``app.openapi()`` tell what this server takes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = named(get_openapi(title=app.title, version=app.version, routes=app.routes))
        return app.openapi_schema

    def named(schema: dict[str, Any]) -> dict[str, Any]:
        schemas = schema["components"]["schemas"]
        (shown,) = schema["paths"]["/v1/models/{name}"]["get"]["parameters"]
        for model in (shown["schema"], *(schemas[name]["properties"]["model"] for name in ASKING)):
            model["enum"] = [engine.model_name, *options.aliases]
        voices = list(dict.fromkeys([*engine.voices, *sorted({DEFAULT_VOICE, *OPENAI_VOICES})]))
        for name in VOICED:
            voice = schemas[name]["properties"]["voice"]
            voice["anyOf"][0]["enum"] = schemas["VoiceId"]["properties"]["id"]["enum"] = voices
        if options.needs_key:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            for path, operations in schema["paths"].items():
                if path.startswith("/v1/"):
                    for operation in operations.values():
                        operation["security"] = [{"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
