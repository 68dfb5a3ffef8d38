"""Errors in OpenAI's format: a status, and ``{"error": {"message", "type", "param", "code"}}``.

Tracebacks go to the log, never to a client.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from chatbot.engine.engine import NoFreeConversationError
from corpus.surrogates import ESCAPED, lone_surrogate_path
from runtime.errors import UserError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
FIXED = {"n", "speed", "frequency_penalty", "presence_penalty", "logprobs", "store"}  # only the default is taken
MEANING = {
    400: "The request is wrong",
    401: "No key, or a wrong one",
    403: "Not from this web origin",
    404: "There is no such thing",
    405: "Not with this method",
    408: "The request's body came too slowly",
    413: "The request, or the audio in it, is too large",
    415: "Not in this content type",
    429: "Too many requests, or all talkers are taken: see Retry-After",
    431: "The headers are too large",
    500: "Our mistake",
    503: "The server is busy or about to stop: see Retry-After",
    504: "The reply took too long",
}


class ErrorObject(BaseModel):
    """The error."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorObject = Field(description="what went wrong")


class ApiError(HTTPException):
    """An error response.

    Args:
        status: of HTTP.
        message: fault and remedy, in a sentence or two.
        param: the field of the request at fault.
        code: a word that programs can compare.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        headers = {"Retry-After": str(max(1, round(retry_after)))} if retry_after is not None else None
        super().__init__(status, message, headers)
        self.param, self.code = param, code


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return ErrorBody(error=ErrorObject(message=message, type=kind, param=param, code=code)).model_dump()


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route for the OpenAPI schema."""
    always = (401, 403, 408, 413, 429, 431, 500, 503)
    return {status: {"model": ErrorBody, "description": MEANING[status]} for status in sorted({*always, *statuses})}


def event_stream(what: str) -> dict[str, Any]:
    """The schema of server-sent events whose data is JSON; a response that begins so is sent while it is made."""
    data = {"type": "string", "contentMediaType": "application/json", "description": what}
    return {"text/event-stream": {"schema": {"type": "object", "required": ["data"], "properties": {"data": data}}}}


def from_user_error(error: UserError) -> ApiError:
    """The response to a `UserError`: 400, or 429 while no conversation is free."""
    if isinstance(error, NoFreeConversationError):
        return ApiError(429, str(error), code="talkers_exhausted", retry_after=1)
    return ApiError(400, str(error), code="invalid_value")


def error_response(error: HTTPException) -> JSONResponse:
    """The response for an error of ours or of the framework."""
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    body = error_body(error.status_code, str(error.detail), param, code)
    response = JSONResponse(body, error.status_code, headers=error.headers)
    if error.status_code in (408, 413):  # the rest of the body is not waited for
        response.headers["Connection"] = "close"
    return response


def field_location(location: Sequence[int | str], body: Any, *, is_missing: bool) -> list[str]:
    """Where a field stands in ``body``, from pydantic's location, which names the members of unions as well."""
    names: list[str] = []
    inside = body
    for number, part in enumerate(location):
        if number == 0 and part in ("body", "query", "path", "header"):
            continue
        is_last = number == len(location) - 1
        if isinstance(inside, dict):
            if part in inside or (is_last and is_missing):
                names.append(str(part))
                inside = inside.get(str(part))
        elif isinstance(inside, list):
            if isinstance(part, int):
                names.append(str(part))
                inside = inside[part] if part < len(inside) else None
        elif not isinstance(body, dict):  # a form: its fields lie flat
            names.append(str(part))
    return names


class CheckedJsonRequest(Request):
    """A request whose JSON holds no lone surrogates (`corpus.surrogates`), so that all of it can be encoded."""

    async def json(self) -> Any:
        """The body.

        Raises:
            ApiError: half of a surrogate pair in a string.
        """
        value = await super().json()
        if ESCAPED.search((await self.body()).decode("utf-8", "replace")):
            path = lone_surrogate_path(value)
            if path is not None:
                message = f"{path}: half of a surrogate pair; send whole characters"
                raise ApiError(400, message, param=path, code="invalid_value")
        return value


class CheckedRoute(APIRoute):
    """A route that reads its body as `CheckedJsonRequest`: ``APIRouter(route_class=CheckedRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler over the checked request."""
        handler = super().get_route_handler()

        async def checked(request: Request) -> Response:
            return await handler(CheckedJsonRequest(request.scope, request.receive))

        return checked


def invalid_request(error: RequestValidationError) -> ApiError:
    """The first thing that the schema finds wrong, in one line, without the value itself."""
    errors = error.errors()
    places = [field_location(each["loc"], error.body, is_missing=each["type"] == "missing") for each in errors]
    # Of a union each member has its errors: the one that got furthest into the value is about the member meant.
    chosen = max(range(len(errors)), key=lambda number: (len(places[number]), -number))
    chosen = chosen if places[chosen][: len(places[0])] == places[0] else 0
    first, where = errors[chosen], places[chosen]
    if first["type"] == "json_invalid":
        return ApiError(400, "The body is not JSON", code="invalid_json")
    if first["type"] in ("model_attributes_type", "missing") and not where:
        return ApiError(400, "Send a JSON object with content type application/json", code="invalid_body")
    param = ".".join(where) or None
    is_empty_only = first.get("ctx", {}).get("max_length") == 0
    if first["type"] in ("extra_forbidden", "none_required") or is_empty_only:
        return ApiError(400, f"{param} is not supported; leave it out", param=param, code="unsupported_parameter")
    if param in FIXED:
        message = f"{param} is not supported; leave it at its default"
        return ApiError(400, message, param=param, code="unsupported_value")
    return ApiError(400, f"{param or 'body'}: {first['msg']}", param=param, code="invalid_value")


def add_error_handlers(app: FastAPI) -> None:
    """Let every error of ``app`` leave in OpenAI's shape."""

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return error_response(error)

    async def on_user_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, UserError)
        return error_response(from_user_error(error))

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(invalid_request(error))

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(UserError, on_user_error)
    app.add_exception_handler(RequestValidationError, on_validation)
