"""Shortening of long replies by an OpenAI-compatible endpoint, to what a person would say (2411.17607: by GPT-4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runtime.chat_endpoint import ChatEndpoint, ChatRequest, RequestConfig
from runtime.config import Options
from runtime.errors import check_option
from runtime.journal import Journal

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


class LongReply(NamedTuple):
    """A reply to be shortened: a name of its own, what was asked, and what was answered."""

    name: str
    question: str
    reply: str


class Shortener:
    """Requests of short replies, several at once.

    Args:
        config: the endpoint.
        requests: options of the requests.
        max_words: largest length that the instruction asks for.
    """

    def __init__(self, config: EndpointConfig, requests: RequestConfig, max_words: int) -> None:
        self.instruction = config.instruction.replace("{words}", str(max_words))
        self.endpoint = ChatEndpoint(config.url, config.model, requests, ("shorten.url", "shorten.model"))

    def shorten(self, replies: Iterable[LongReply], journal: Journal) -> Iterator[str]:
        """Shorten replies into the journal; yields for each the reason of its failure, "" where there is none.

        Raises:
            UserError: the endpoint refuses the key or does not know the model.
        """
        return self.endpoint.complete_all(map(self.request, replies), journal)

    def answer(self, reply: LongReply) -> str:
        """The reply made short.

        Raises:
            UnansweredError: none after all retries.
            UserError: no request would be answered.
        """
        return self.endpoint.complete(self.request(reply)).texts[0]

    def request(self, reply: LongReply) -> ChatRequest:
        """The request that shortens a reply."""
        asked = f"Question:\n{reply.question}\n\nWritten answer:\n{reply.reply}"
        messages = [{"role": "system", "content": self.instruction}, {"role": "user", "content": asked}]
        return ChatRequest(reply.name, messages, {"temperature": 0})
