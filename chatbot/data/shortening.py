"""Shortening of long replies by an OpenAI-compatible endpoint, to what a person would say (2411.17607: by GPT-4).

Answers are kept in a journal: after a kill only what is missing is requested again, and earlier answers stay as they
are, so that all that follows is the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from runtime.config import Options, option
from runtime.errors import UserError, check_option
from runtime.journal import Journal

BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
REFUSED = (401, 403, 404)  # wrong for every request: key, model, url
LONGEST_WAIT = 60.0  # seconds between two tries
INSTRUCTION = (
    "You turn written answers into spoken ones. Answer the question again as a person would say it aloud, in the same "
    "language: at most {words} words, plain sentences, no lists, no headings, no code, no formulas, no links, no "
    "emoji, nothing that cannot be read aloud. Give only the answer."
)


@dataclass(kw_only=True)
class EndpointConfig(Options):
    """The endpoint that shortens replies, and its instruction.

    Attributes:
        url: base of the endpoint, e.g. https://api.openai.com/v1; "" shortens nothing.
        model: that the endpoint knows.
        instruction: system prompt of the model; ``{words}`` is filter.max_reply_words.
    """

    url: str = ""
    model: str = ""
    instruction: str = INSTRUCTION

    def __post_init__(self) -> None:
        super().__post_init__()
        is_sound = not self.url or self.url.startswith(("http://", "https://"))
        check_option(is_sound, "shorten.url", self.url, "give http://... or https://..., up to the /v1")
        check_option(bool(self.model) or not self.url, "shorten.model", self.model, "name the endpoint's model")


@dataclass(kw_only=True)
class RequestConfig(Options):
    """Options of the requests to the endpoint; answers so far are kept when they are changed.

    Attributes:
        key_variable: environment variable that holds the key; none is sent where it is not set.
        timeout_seconds: of a request, from one byte to the next.
        retries: of a request that timed out, or found the endpoint busy or broken.
        wait_seconds: before the first retry; doubled before each further one.
        concurrency: requests at once.
        max_failed_share: share of the replies that may get no answer (their dialogues end before).
    """

    key_variable: str = "OPENAI_API_KEY"
    timeout_seconds: float = option(60.0, above=0)
    retries: int = option(4, at_least=0)
    wait_seconds: float = option(1.0, at_least=0)
    concurrency: int = option(4, above=0)
    max_failed_share: float = option(0.05, at_least=0, at_most=1)


class LongReply(NamedTuple):
    """A reply to be shortened: a name of its own, what was asked, and what was answered."""

    name: str
    question: str
    reply: str


class UnansweredError(Exception):
    """A reply that the endpoint did not shorten; the message is the reason."""


class Shortener:
    """Client of the endpoint, with several requests at once.

    Args:
        config: the endpoint.
        requests: options of the requests.
        max_words: largest length that the instruction asks for.
    """

    def __init__(self, config: EndpointConfig, requests: RequestConfig, max_words: int) -> None:
        self.config, self.requests = config, requests
        self.instruction = config.instruction.replace("{words}", str(max_words))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # a kept one may be stale
        self._client = httpx.Client(limits=limits, follow_redirects=True)

    def shorten(self, replies: Iterable[LongReply], journal: Journal) -> Iterator[str]:
        """Shorten replies into the journal; yields for each the reason of its failure, "" where there is none.

        Raises:
            UserError: the endpoint refuses the key or does not know the model.
        """
        with ThreadPoolExecutor(self.requests.concurrency) as pool:
            waiting: dict[Future[str], LongReply] = {}
            for reply in replies:
                waiting[pool.submit(self.answer, reply)] = reply
                if len(waiting) >= 2 * self.requests.concurrency:
                    yield from self._collect(waiting, journal)
            while waiting:
                yield from self._collect(waiting, journal)

    def _collect(self, waiting: dict[Future[str], LongReply], journal: Journal) -> Iterator[str]:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            reply = waiting.pop(future)
            try:
                journal.append({"name": reply.name, "text": future.result()})
                yield ""
            except UnansweredError as failure:
                yield str(failure)
            except UserError:
                for other in waiting:
                    other.cancel()
                raise

    def answer(self, reply: LongReply) -> str:
        """The reply made short.

        Raises:
            UnansweredError: none after all retries.
            UserError: no request would be answered.
        """
        pause, failure = self.requests.wait_seconds, ""
        for number in range(self.requests.retries + 1):
            if number:
                time.sleep(min(pause, LONGEST_WAIT))
                pause *= 2
            try:
                return self._ask(reply)
            except httpx.HTTPStatusError as error:
                response = error.response
                failure = f"status {response.status_code}"
                if response.status_code in REFUSED:
                    remedy = f"check shorten.url, shorten.model and the key in {self.requests.key_variable}"
                    found = f"status {response.status_code} ({_detail(response)})"
                    raise UserError(self.config.url, found=found, remedy=remedy) from error
                if response.status_code not in BUSY:
                    raise UnansweredError(failure) from error
                pause = max(pause, _retry_after(response))
            except (httpx.HTTPError, httpx.InvalidURL) as error:  # time-outs and broken connections are among them
                failure = f"{type(error).__name__}: {error}"
            except (ValueError, KeyError, IndexError, TypeError):
                failure = "an answer without text"
        raise UnansweredError(failure)

    def _ask(self, reply: LongReply) -> str:
        asked = f"Question:\n{reply.question}\n\nWritten answer:\n{reply.reply}"
        body = {
            "model": self.config.model,
            "temperature": 0,
            "messages": [{"role": "system", "content": self.instruction}, {"role": "user", "content": asked}],
        }
        key = os.environ.get(self.requests.key_variable)
        response = self._client.post(
            f"{self.config.url.rstrip('/')}/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=self.requests.timeout_seconds,
        )
        response.raise_for_status()
        answer: Any = response.json()
        text = answer["choices"][0]["message"]["content"]
        if not isinstance(text, str) or not text.strip():
            raise ValueError("no text")
        return text.strip()


def _detail(response: httpx.Response) -> str:
    """The reason that the endpoint gives for its status."""
    return response.content[:300].decode(errors="replace").strip() or response.reason_phrase


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the endpoint asks to wait (Retry-After)."""
    try:
        return min(max(float(response.headers.get("Retry-After", 0)), 0.0), LONGEST_WAIT)
    except ValueError:  # a date
        return 0.0
