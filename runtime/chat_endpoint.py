"""Client of an OpenAI-compatible endpoint and of its chat completions: retries, concurrent requests, a journal.

Answers are kept in a journal by name: after a kill only what is missing is requested again, and earlier answers stay as
they are, so that all that follows is the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx

from .config import Options, option
from .errors import UserError
from .journal import Journal

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
REFUSED = (401, 403, 404)  # wrong for every request: key, model, url
LONGEST_WAIT = 60.0  # seconds between two tries
EARLY = 20  # failures before their share is looked at
INVALID = (400, 422)  # a request with a field that the endpoint does not take

Answer = TypeVar("Answer")


@dataclass(kw_only=True)
class RequestConfig(Options):
    """Options of the requests to the endpoint; answers so far are kept when they are changed.

    Attributes:
        key_variable: environment variable that holds the key; none is sent where it is not set.
        timeout_seconds: of a request, from one byte to the next.
        retries: of a request that timed out, or found the endpoint busy or broken.
        wait_seconds: before the first retry; doubled before each further one.
        concurrency: requests at once.
        max_failed_share: share of the requests that may get no answer.
    """

    key_variable: str = "OPENAI_API_KEY"
    timeout_seconds: float = option(60.0, above=0)
    retries: int = option(4, at_least=0)
    wait_seconds: float = option(1.0, at_least=0)
    concurrency: int = option(4, above=0)
    max_failed_share: float = option(0.05, at_least=0, at_most=1)


@dataclass(frozen=True)
class ChatRequest:
    """One request: a name of its own, the messages, and further fields of the body (temperature, n, top_p, seed)."""

    name: str
    messages: list[dict[str, Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EndpointReply:
    """The answer to a request: its texts (one for each of ``n``), and the tokens that the endpoint counted."""

    texts: list[str]
    prompt_tokens: int = 0
    completion_tokens: int = 0


class UnansweredError(Exception):
    """A request without an answer; the message is the reason, ``status`` the endpoint's (0 where it gave none)."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class FailureTally:
    """Count of requests without an answer, which ends a run in which they are too many.

    Args:
        subject: that errors name: the endpoint or model.
        lacking: the noun and verb of a failure in errors, e.g. ``"answers were not judged"``.
        max_share: of the requests that may get no answer (`RequestConfig.max_failed_share`).
        answered: requests that an earlier call answered; they count like those of this one, so that a run which
            goes on after a kill ends as the unbroken one does.

    Attributes:
        asked: requests so far.
        failures: reasons of those without an answer, with their numbers.
    """

    def __init__(self, subject: str, lacking: str, max_share: float, answered: int = 0) -> None:
        self.subject, self.lacking, self.max_share = subject, lacking, max_share
        self.asked, self.failures = answered, Counter[str]()

    def add(self, failure: str) -> None:
        """Count a request; ``failure`` is the reason, "" where it was answered.

        Raises:
            UserError: `EARLY` failures or more so far, and too large a share.
        """
        self.asked += 1
        self.failures.update([failure] if failure else [])
        if self.failures.total() >= EARLY:
            self.check()

    def check(self) -> None:
        """Raise a `UserError` where too large a share of the requests has no answer."""
        count = self.failures.total()
        if count > self.max_share * max(self.asked, 1):
            reason, most = self.failures.most_common(1)[0]
            found = f"{count} of {self.asked} {self.lacking} ({most} times: {reason})"
            remedy = f"call again for the rest (answers are kept), or raise requests.max_failed_share={self.max_share}"
            raise UserError(self.subject, found=found, remedy=remedy)


class UnreadableAnswerError(Exception):
    """A response that holds no answer; the message is the reason. The request is sent again."""


class OpenAIEndpoint:
    """Client of an OpenAI-compatible server: one request is retried, several are under way at once.

    Args:
        url: base of the endpoint, up to the ``/v1``.
        model: that the endpoint knows.
        requests: options of the requests.
        options: names of the options that gave url and model, for errors.
    """

    def __init__(
        self, url: str, model: str, requests: RequestConfig, options: tuple[str, str] = ("url", "model")
    ) -> None:
        self.url, self.model, self.requests, self.options = url.rstrip("/"), model, requests, options
        self._is_over = False  # the run has ended early: nothing is asked any more
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # a kept one may be stale
        self._client = httpx.Client(limits=limits, follow_redirects=True)

    @contextlib.contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that ask; where the run ends early (Ctrl-C, too many failures) they stop after their present try."""
        self._is_over = False
        pool = ThreadPoolExecutor(self.requests.concurrency)
        try:
            yield pool
        except BaseException:
            self._is_over = True
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[httpx.Response], Answer]) -> Answer:
        """The answer to one request.

        Args:
            path: below the url, e.g. ``/chat/completions``.
            body: fields of the request, besides the model.
            read: a response of status 200 as an answer; where it raises `UnreadableAnswerError` it is asked for again.

        Raises:
            UnansweredError: none after all retries, or one that ``read`` takes for the last word.
            UserError: no request would be answered.
        """
        pause, failure = self.requests.wait_seconds, "not asked: the run has ended"
        for number in range(self.requests.retries + 1):
            if number:
                self._wait(min(pause, LONGEST_WAIT))
                pause *= 2
            if self._is_over:
                break
            try:
                return read(self._post(path, body))
            except httpx.HTTPStatusError as error:
                response = error.response
                failure = f"status {response.status_code}{_code(response)}"
                if response.status_code in REFUSED:
                    remedy = f"check {', '.join(self.options)} and the key in {self.requests.key_variable}"
                    found = f"status {response.status_code} ({_detail(response)})"
                    raise UserError(self.url, found=found, remedy=remedy) from error
                if response.status_code not in BUSY:
                    raise UnansweredError(failure, response.status_code) from error
                pause = max(pause, _retry_after(response))
            except (httpx.HTTPError, httpx.InvalidURL) as error:  # time-outs and broken connections are among them
                failure = f"{type(error).__name__}: {error}"
            except UnreadableAnswerError as error:
                failure = str(error)
        raise UnansweredError(failure)

    def _wait(self, seconds: float) -> None:
        """Wait between two tries, no longer than the run lasts."""
        end = time.monotonic() + seconds
        while not self._is_over and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        key = os.environ.get(self.requests.key_variable)
        response = self._client.post(
            f"{self.url}{path}",
            json={"model": self.model} | dict(body),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self.requests.timeout_seconds,
        )
        response.raise_for_status()
        return response


class ChatEndpoint(OpenAIEndpoint):
    """Client of the endpoint's chat completions.

    Several answers to one request (``n``) are asked for at once, or, where the endpoint refuses ``n`` or answers with
    fewer, one after the other.
    """

    _takes_n = True

    def complete_all(self, asked: Iterable[ChatRequest], journal: Journal) -> Iterator[str]:
        """Answer requests into the journal (``name, texts, prompt_tokens, completion_tokens``).

        Yields:
            For each the reason of its failure, "" where there is none.

        Raises:
            UserError: the endpoint refuses the key or does not know the model.
        """
        with self.pool() as pool:
            waiting: dict[Future[EndpointReply], ChatRequest] = {}
            for request in asked:
                waiting[pool.submit(self.complete, request)] = request
                if len(waiting) >= 2 * self.requests.concurrency:
                    yield from self._collect(waiting, journal)
            while waiting:
                yield from self._collect(waiting, journal)

    def _collect(self, waiting: dict[Future[EndpointReply], ChatRequest], journal: Journal) -> Iterator[str]:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            request = waiting.pop(future)
            try:
                journal.append({"name": request.name} | vars(future.result()))
                yield ""
            except UnansweredError as failure:
                yield str(failure)
            except UserError:
                for other in waiting:
                    other.cancel()
                raise

    def complete(self, request: ChatRequest) -> EndpointReply:
        """The texts that answer one request, as many as its ``n``.

        Raises:
            UnansweredError: none, or fewer, after all retries.
            UserError: no request would be answered.
        """
        wanted = int(request.parameters.get("n", 1))
        single = {name: value for name, value in request.parameters.items() if name != "n"}
        replies = list[EndpointReply]()
        while (missing := wanted - sum(len(reply.texts) for reply in replies)) > 0:
            is_single = missing == 1 or not self._takes_n
            asked = replace(request, parameters=single if is_single else {**single, "n": missing})
            try:
                replies.append(self.ask(asked, read_texts))
            except UnansweredError as failure:
                if is_single or failure.status not in INVALID:
                    raise
                replies.append(self.ask(replace(request, parameters=single), read_texts))
                self._takes_n = False  # one alone was answered: it is ``n`` that was refused
        return EndpointReply(
            [text for reply in replies for text in reply.texts][:wanted],
            sum(reply.prompt_tokens for reply in replies),
            sum(reply.completion_tokens for reply in replies),
        )

    def ask(self, request: ChatRequest, read: Callable[[Any], Answer]) -> Answer:
        """The answer to one request.

        Args:
            request: its name is not sent.
            read: the body of the response as an answer; a response on which it raises `ValueError`, `KeyError`,
                `IndexError` or `TypeError` is asked for again.

        Raises:
            UnansweredError: none after all retries, or stopped by the endpoint's content filter.
            UserError: no request would be answered.
        """

        def read_response(response: httpx.Response) -> Answer:
            unread = "an answer that is not JSON"
            try:
                body = response.json()
                unread = unread_reason(body)
                return read(body)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise UnreadableAnswerError(unread) from error

        body = {"messages": request.messages} | dict(request.parameters)
        return self.post("/chat/completions", body, read_response)


def unread_reason(body: Any) -> str:
    """The reason to give where the body of a response holds no answer.

    Raises:
        UnansweredError: the endpoint's content filter stopped the answer: it would stop it again.
    """
    if not isinstance(body, dict):
        return "an answer that is no JSON object"
    choices = body.get("choices")
    if not isinstance(choices, list):
        error = body.get("error")
        detail = error.get("message") if isinstance(error, dict) else error
        return f"an answer without choices ({detail})" if detail else "an answer without choices"
    whole = [one for one in choices if isinstance(one, dict)]
    if any(one.get("finish_reason") == "content_filter" for one in whole):
        raise UnansweredError("stopped by the endpoint's content filter")
    messages = [one["message"] for one in whole if isinstance(one.get("message"), dict)]
    if any(message.get("refusal") and not message.get("content") for message in messages):
        return "a refusal without an answer"
    return "an answer without text"


def read_texts(body: Any) -> EndpointReply:
    """The texts of a response; raises `ValueError` where one of them is empty."""
    texts = [choice["message"]["content"] for choice in body["choices"]]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("no text")
    usage = body.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    counts = (counted.get(f"{kind}_tokens") for kind in ("prompt", "completion"))
    return EndpointReply([text.strip() for text in texts], *(one if isinstance(one, int) else 0 for one in counts))


def _detail(response: httpx.Response) -> str:
    """The reason that the endpoint gives for its status."""
    return response.content[:300].decode(errors="replace").strip() or response.reason_phrase


def _code(response: httpx.Response) -> str:
    """The code of the error in a response, in brackets: equal for requests that failed alike; "" where it has none."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({code})" if isinstance(code, str) and code else ""


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the endpoint asks to wait (Retry-After)."""
    try:
        return min(max(float(response.headers.get("Retry-After", 0)), 0.0), LONGEST_WAIT)
    except ValueError:  # a date
        return 0.0
