"""Models that can be asked: an OpenAI-compatible endpoint, a bundle served here, a text model of transformers.

Base speech language models are in `evaluation.answers.base_speech_model`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from evaluation.served_chat.server import serve_bundle
from lm.data.vocabulary import Ids, Vocabulary
from runtime.artefact import file_digest
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, RequestConfig, UnansweredError
from runtime.errors import UserError
from runtime.hashing import seed_of

from .prompt import ItemPrompt

MAX_SEED = 1 << 31
CUT = "max_new_tokens"  # the end of a reply that was cut
TRANSFORMERS_FILE = "config.json"


@dataclass(frozen=True)
class ReceivedReply:
    """A reply.

    Attributes:
        text: written; None where there is none.
        audio: bytes of a sound file.
        heard: the model's own transcript of the question.
        transcript: of a spoken reply, where no recogniser hears it.
        end: reason why the reply ended; "" where the model does not say.
        ids: of the text as the model wrote it, the token that ended it included, where they are known.
        failure: reason why there is no reply; "" where there is one.
    """

    text: str | None
    audio: bytes | None = None
    heard: str | None = None
    transcript: str | None = None
    end: str = ""
    failure: str = ""
    ids: tuple[int, ...] = ()


def written_reply(row: Ids, vocabulary: Vocabulary, ends: Sequence[int]) -> ReceivedReply:
    """The reply whose ids (T,) a model wrote up to a token of ``ends``, or as far as it was let."""
    is_ended = bool(len(row)) and int(row[-1]) in ends
    return ReceivedReply(vocabulary.decode_text(row), end="" if is_ended else CUT)


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """Settings of replies; ``seed`` counts where ``temperature`` is above 0."""

    is_spoken: bool
    max_new_tokens: int
    temperature: float
    seed: int


class AnsweringModel(Protocol):
    """A model that answers prompts.

    Attributes:
        name: for a score's stamp.
        digest: of its files, or what an endpoint says of itself.
        hears: whether it takes spoken prompts.
    """

    name: str
    digest: str
    hears: bool

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """The replies to prompts, in order, as they come; each is independent of the others.

        Raises:
            UserError: there would be none to any prompt.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Entries of a score's stamp about the model, further than its name and digest."""
        ...


class SinglePromptModel(ABC):
    """A model that takes one prompt a call."""

    @abstractmethod
    def reply(self, prompt: ItemPrompt, settings: AnswerSettings) -> ReceivedReply:
        """The reply to one prompt.

        Raises:
            UnansweredError: there is none.
            UserError: there would be none to any prompt.
        """

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """See `AnsweringModel`."""
        for prompt in prompts:
            yield self.reply_or_failure(prompt, settings)

    def reply_or_failure(self, prompt: ItemPrompt, settings: AnswerSettings) -> ReceivedReply:
        """The reply, or one with the reason why there is none."""
        try:
            return self.reply(prompt, settings)
        except UnansweredError as error:
            return ReceivedReply(None, failure=str(error))

    def settings(self) -> dict[str, Any]:
        """No further entries."""
        return {}


class EndpointModel(SinglePromptModel):
    """A model behind an OpenAI-compatible endpoint."""

    hears = True

    def __init__(self, url: str, name: str, requests: RequestConfig, digest: str = "") -> None:
        self.name, self.digest = served_model(url, name)
        self.digest = digest or self.digest
        self.endpoint = ChatEndpoint(url, self.name, requests, ("model", "served_model"))

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """See `AnsweringModel`; several prompts are asked at once."""
        with self.endpoint.pool() as pool:
            yield from pool.map(lambda prompt: self.reply_or_failure(prompt, settings), prompts)

    def reply(self, prompt: ItemPrompt, settings: AnswerSettings) -> ReceivedReply:
        """The reply of the endpoint, asked again as `RequestConfig` says."""
        fields: dict[str, Any] = {
            "temperature": settings.temperature,
            "max_completion_tokens": settings.max_new_tokens,
        }
        if settings.temperature > 0:
            fields["seed"] = seed_of(settings.seed, prompt.id) % MAX_SEED
        if settings.is_spoken:
            fields |= {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}}
        request = ChatRequest(prompt.id, prompt.messages(), fields)
        return self.endpoint.ask(request, lambda body: read_reply(body, settings.is_spoken))


def read_reply(body: Any, is_spoken: bool) -> ReceivedReply:
    """The reply in a response's body; raises `ValueError` where the medium that was asked for is missing.

    A refusal is what the model says. A reply that was cut at its longest is kept, and says so.
    """
    choice = body["choices"][0]
    message, end = choice["message"], CUT if choice.get("finish_reason") == "length" else ""
    audio, text = message.get("audio") or {}, message.get("content")
    text = message.get("refusal") if text is None else text
    heard = body.get("heard")
    if not is_spoken:
        if not isinstance(text, str):
            raise ValueError("no text")
        return ReceivedReply(text, None, heard, end=end)
    if not audio.get("data"):
        raise ValueError("no audio")
    sound = base64.b64decode(audio["data"], validate=True)
    return ReceivedReply(text or audio.get("transcript"), sound, heard, end=end)


def served_model(url: str, name: str) -> tuple[str, str]:
    """The name of the model at a URL (its first where none is named), and what the server says of it.

    Raises:
        UserError: nobody answers there, or it has no such model.
    """
    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=30)
        response.raise_for_status()
        models = {str(one["id"]): one for one in response.json()["data"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        if name:  # endpoints without a list of models exist
            return name, "unknown"
        remedy = "check the URL, or set served_model"
        raise UserError(url, found=f"no list of models ({error})", remedy=remedy) from error
    if not models or (name and name not in models):
        raise UserError(url, found=f"no model {name!r}", remedy=f"it has {', '.join(models) or 'none'}")
    chosen = name or next(iter(models))
    return chosen, str(models[chosen].get("created", "unknown"))


class TransformersModel(SinglePromptModel):
    """A text language model of transformers, greedy, one prompt at a time (batch mates can change a greedy token).

    A model with a chat template gets messages, any other one plain text with worked examples, and is cut at the first
    line's end.
    """

    hears = False

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads, self.name, self.digest = folder, threads, folder.name, file_digest(folder)

    @functools.cached_property
    def _parts(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(self.threads)
        model: Any = AutoModelForCausalLM.from_pretrained(str(self.folder)).eval()
        return model, AutoTokenizer.from_pretrained(str(self.folder))

    @property
    def has_template(self) -> bool:
        """Whether it has a chat template."""
        return bool(self._parts[1].chat_template)

    def prompt_ids(self, prompt: ItemPrompt) -> list[int]:
        """The ids of a prompt."""
        tokenizer = self._parts[1]
        if not self.has_template:
            return list(tokenizer(prompt.plain())["input_ids"])
        given = tokenizer.apply_chat_template(prompt.messages(), add_generation_prompt=True, return_dict=True)
        return list(given["input_ids"])

    def reply(self, prompt: ItemPrompt, settings: AnswerSettings) -> ReceivedReply:
        """The continuation of the prompt."""
        import torch

        model, tokenizer = self._parts
        ids = torch.tensor([self.prompt_ids(prompt)])
        sampling: dict[str, Any] = {"do_sample": False}
        if settings.temperature > 0:
            torch.manual_seed(seed_of(settings.seed, prompt.id) % MAX_SEED)
            sampling = {"do_sample": True, "temperature": settings.temperature}
        with torch.inference_mode():
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=settings.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
                **sampling,
            )
        written = made[0, ids.shape[1] :].tolist()
        text = tokenizer.decode(written, skip_special_tokens=True)
        if not self.has_template:
            return ReceivedReply(text.strip("\n").split("\n")[0])
        ends = model.generation_config.eos_token_id
        is_ended = bool(written) and written[-1] in (ends if isinstance(ends, list) else [ends])
        return ReceivedReply(text, end="" if is_ended else CUT, ids=tuple(written))


@contextlib.contextmanager
def open_model(
    source: str, served_name: str, requests: RequestConfig, *, threads: int, log: Path
) -> Iterator[AnsweringModel]:
    """The model that a URL or a folder names; a bundle is served while the context is open.

    Raises:
        UserError: there is none.
    """
    if source.startswith(("http://", "https://")):
        yield EndpointModel(source, served_name, requests)
    elif (Path(source) / TRANSFORMERS_FILE).is_file():
        yield TransformersModel(Path(source), threads)
    elif Path(source).is_dir():
        with serve_bundle(source, log, max_talkers=requests.concurrency, threads=threads) as served:
            yield EndpointModel(f"{served.url}/v1", "", requests, digest=file_digest(source))
    else:
        remedy = "give a URL up to the /v1, a chatbot's bundle, or a text model's folder of transformers"
        raise UserError(f"option model={source}", found="no such folder", remedy=remedy)
