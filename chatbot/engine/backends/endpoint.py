"""The language model behind an endpoint of vLLM or SGLang: OpenAI's completions with ids in and ids out, streamed.

    vllm serve runs/quickstart/bundle/lm --served-model-name chat
    Engine.from_pretrained(bundle, EngineOptions(backend_url="http://localhost:8000/v1", backend_model="chat"))

Each part of a reply is one request whose prompt is all ids so far; the server's prefix cache makes that cheap. The
allowed ids are given as ``allowed_token_ids`` (vLLM) or, as SGLang has no such field, by a ``logit_bias`` that lifts
them above all others. Field names are those of both servers' sources (``protocol.py`` of their completions). It has
been run against a server of our own that speaks this dialect, never against vLLM or SGLang themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from chatbot.engine.options import EngineOptions
from lm.data.vocabulary import Vocabulary
from lm.inference.batching import GenerationRequest
from lm.inference.output_head import Allowed
from runtime.errors import UserError

KEY_VARIABLE = "SPEECHWEAVE_BACKEND_KEY"
LIFT = 100.0  # the greatest bias that OpenAI's API knows
CONNECT_SECONDS, SILENT_SECONDS = 5.0, 60.0
REMEDY = "check url, model and key, and that the server runs the bundle's lm folder"


class Remote:
    """A `chatbot.engine.backends.builtin.LanguageModelBackend` behind HTTP.

    Args:
        vocabulary: of the model that is served.
        max_length: its positions.
        options: where the endpoint is, and its software. Its API key comes from $SPEECHWEAVE_BACKEND_KEY.

    Raises:
        UserError: nobody answers there, or it serves no such model.
    """

    def __init__(self, vocabulary: Vocabulary, max_length: int, options: EngineOptions) -> None:
        self.vocabulary, self.max_length, self.dialect = vocabulary, max_length, options.backend_dialect
        self.url = options.backend_url.rstrip("/")
        key = os.environ.get(KEY_VARIABLE, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        self.model = find_model(self.url, headers, options.backend_model)
        self.client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=None))
        self._allowed: dict[Allowed | tuple[int, ...], npt.NDArray[np.int64]] = {}

    def open(self) -> RemoteContext:
        """A new, empty sequence."""
        return RemoteContext(self)

    def order_on_loop(self, order: Callable[[], None]) -> None:
        """Call the function: nothing is held here."""
        order()

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    def body(self, ids: Sequence[int], ask: GenerationRequest) -> dict[str, Any]:
        """The request that continues ``ids``."""
        allowed = [*self.allowed_ids(ask.allowed).tolist(), *ask.stop]
        constraint = (
            {"allowed_token_ids": sorted(set(allowed))}
            if self.dialect == "vllm"
            else {"logit_bias": {str(id): LIFT for id in allowed}}
        )
        return {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": ask.max_new_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "seed": ask.seed % (1 << 63),
            "stop_token_ids": list(ask.stop),
            "skip_special_tokens": False,
            "return_token_ids": True,
            "stream": True,
        } | (constraint if ask.allowed != "any" else {})

    def allowed_ids(self, allowed: Allowed | tuple[int, ...]) -> npt.NDArray[np.int64]:
        """The ids that may come, in order."""
        if allowed not in self._allowed:
            v = self.vocabulary
            every = np.arange(v.size)
            kinds = {"text": v.is_text(every), "speech": v.is_speech(every), "any": every != v.pad}
            kinds["both"] = kinds["text"] | kinds["speech"]
            kept = kinds[allowed] if isinstance(allowed, str) else np.isin(every, allowed)
            self._allowed[allowed] = np.flatnonzero(kept)
        return self._allowed[allowed]


class RemoteContext:
    """One sequence; the server is asked only when it shall go on."""

    def __init__(self, backend: Remote) -> None:
        self.ids: list[int] = []
        self.probabilities: list[float] = []
        self._backend = backend

    def set(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Let the sequence be ``ids``.

        Raises:
            UserError: more than the model has positions.
        """
        if len(ids) > self._backend.max_length:
            found = f"{len(ids)} tokens for a model of {self._backend.max_length} positions"
            raise UserError("the dialogue", found=found, remedy="start a new one")
        self.ids = [int(id) for id in ids]

    async def generate(self, ask: GenerationRequest) -> AsyncGenerator[int]:
        """Continue the sequence; leaving early closes the connection, upon which the server stops.

        Raises:
            UserError: the endpoint fails, tells no ids, or gives one that was not allowed.
        """
        backend, count = self._backend, 0
        allowed = set(backend.allowed_ids(ask.allowed).tolist()) | set(ask.stop)
        async with aclosing(streamed_ids(backend, backend.body(self.ids, ask), ask.stop)) as made:
            async for id in made:
                if id not in allowed:
                    found = f"token {id}, which was not allowed"
                    raise UserError(backend.url, found=found, remedy=f"is it really {backend.dialect}? {REMEDY}")
                self.ids.append(id)
                count += 1
                yield id
                if id in ask.stop or (ask.is_speech_last and backend.vocabulary.is_speech(id)):
                    return
        if count < ask.max_new_tokens:
            raise UserError(backend.url, found=f"an end after {count} of {ask.max_new_tokens} tokens", remedy=REMEDY)

    def close(self) -> None:
        """Nothing is held."""


async def streamed_ids(backend: Remote, body: dict[str, Any], stop: Sequence[int]) -> AsyncGenerator[int]:
    """The new ids of one completion, as the server's events bring them, the stop id included."""
    url = f"{backend.url}/completions"
    try:
        async with backend.client.stream("POST", url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                text = (await response.aread()).decode(errors="replace")
                raise UserError(url, found=f"status {response.status_code}: {text[:300]}", remedy=REMEDY)
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if not line.startswith("data:") or data == "[DONE]":
                    continue
                for id in event_ids(data, url, stop):
                    yield id
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        found = f"no answer ({type(error).__name__}: {error})"
        raise UserError(url, found=found, remedy=REMEDY) from error


def event_ids(data: str, url: str, stop: Sequence[int]) -> list[int]:
    """The ids of one event; a stop id that the server tells as the reason of the end only is added."""
    event = json.loads(data)
    if "error" in event or event.get("object") == "error":
        raise UserError(url, found=f"an error: {json.dumps(event)[:300]}", remedy=REMEDY)
    ids: list[int] = []
    for choice in event.get("choices") or []:
        if choice.get("token_ids") is None:
            remedy = "serve it by a newer vLLM or SGLang, which knows return_token_ids"
            raise UserError(url, found="text without the ids of its tokens", remedy=remedy)
        ids += choice["token_ids"]
        reason = choice.get("stop_reason", choice.get("matched_stop"))
        if choice.get("finish_reason") == "stop" and reason in stop and ids[-1:] != [reason]:
            ids.append(reason)
    return ids


def find_model(url: str, headers: dict[str, str], model: str) -> str:
    """The name of the model that an endpoint serves.

    Raises:
        UserError: nobody answers, or there is no such model.
    """
    try:
        response = httpx.get(f"{url}/models", headers=headers, timeout=CONNECT_SECONDS)
        response.raise_for_status()
        names = [str(one["id"]) for one in response.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{url}/models", found=f"no list of models ({error})", remedy=REMEDY) from error
    if (model and model not in names) or not names:
        raise UserError(f"{url}/models", found=f"no model {model!r}; it has {', '.join(names)}", remedy=REMEDY)
    return model or names[0]
