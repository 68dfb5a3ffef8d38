"""Text models that answer prompts about transcripts: an OpenAI-compatible endpoint, an exported LM, a model of
transformers, and rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from corpus.manifest import Utterance
from evaluation.answers.answering_models import (
    MAX_SEED,
    TRANSFORMERS_FILE,
    AnswerSettings,
    ReceivedReply,
    TransformersModel,
    read_reply,
    served_model,
    written_reply,
)
from evaluation.answers.prompt import ItemPrompt
from lm.data.request_format import request_format
from lm.data.vocabulary import RECORD_FILE, Ids
from lm.inference.generation import Generator
from runtime.artefact import file_digest
from runtime.chat_endpoint import ChatEndpoint, ChatRequest, UnansweredError
from runtime.errors import UserError
from runtime.hashing import seed_of

from .ask_config import RULES_MODEL, AskConfig
from .tasks.task_file import ContentTask, TaskPrompt


class TextRequest(NamedTuple):
    """A prompt about the transcripts of one utterance or several.

    Attributes:
        name: unique in a run: the first utterance and the prompt.
        utterances: their ids and transcripts.
        task: of the prompt.
        prompt: the wording.
    """

    name: str
    utterances: tuple[Utterance, ...]
    task: ContentTask
    prompt: TaskPrompt

    @property
    def transcript(self) -> str:
        """All transcripts as one text."""
        return " ".join(utterance.text for utterance in self.utterances)

    @property
    def text(self) -> str:
        """The text that the model reads."""
        return self.prompt.with_transcript(self.transcript)


class TextModel(Protocol):
    """A text model.

    Attributes:
        name: of the model.
        digest: of its files, or what an endpoint says of itself.
    """

    name: str
    digest: str

    def answers(self, requests: Sequence[TextRequest]) -> Iterator[ReceivedReply]:
        """The answers to requests, in order, as they come; a failure is a reply that says so.

        Raises:
            UserError: there would be none to any request.
        """
        ...

    def prompt_ids(self, request: TextRequest) -> list[int]:
        """The ids of a request in the model's own chat template; empty of a model without one, or behind a URL."""
        ...


def open_text_model(config: AskConfig) -> TextModel:
    """The model that ``config.model`` names."""
    if config.model == RULES_MODEL:
        return RuleAnswers()
    if config.model.startswith(("http://", "https://")):
        return EndpointText(config)
    folder = Path(config.model)
    if (folder / TRANSFORMERS_FILE).is_file() and not (folder / RECORD_FILE).is_file():
        return TransformersText(config)
    if folder.is_dir():
        return ExportedText(config)
    remedy = f"give a URL up to the /v1, a folder of lm.export or of transformers, or {RULES_MODEL}"
    raise UserError(f"option model={config.model}", found="no such folder", remedy=remedy)


class RuleAnswers:
    """Answers by the rules of the tasks (`imitation.tasks.references`)."""

    name, digest = RULES_MODEL, "1"

    def answers(self, requests: Sequence[TextRequest]) -> Iterator[ReceivedReply]:
        """See `TextModel`; a task without a rule, or without an answer for a transcript, is a failure."""
        for request in requests:
            rule = request.task.reference
            answer = rule.answer(request.transcript) if rule is not None else None
            reason = f"task {request.task.name} has no rule" if rule is None else "no answer by the rule"
            yield ReceivedReply(answer, failure="" if answer is not None else reason)

    def prompt_ids(self, request: TextRequest) -> list[int]:
        """None: rules read no ids."""
        return []


class EndpointText:
    """A model behind an OpenAI-compatible endpoint; several requests at once."""

    def __init__(self, config: AskConfig) -> None:
        self.config = config
        self.name, self.digest = served_model(config.model, config.served_model)
        self.endpoint = ChatEndpoint(config.model, self.name, config.requests, ("model", "served_model"))

    def answers(self, requests: Sequence[TextRequest]) -> Iterator[ReceivedReply]:
        """See `TextModel`."""
        with self.endpoint.pool() as pool:
            yield from pool.map(self._answer, requests)

    def prompt_ids(self, request: TextRequest) -> list[int]:
        """None: an endpoint does not say."""
        return []

    def _answer(self, request: TextRequest) -> ReceivedReply:
        config = self.config
        fields: dict[str, Any] = {
            "temperature": config.temperature,
            "max_completion_tokens": request.task.max_new_tokens,
        }
        if config.temperature > 0:
            fields["seed"] = seed_of(config.seed, request.name) % MAX_SEED
        system = [{"role": "system", "content": config.system}] if config.system else []
        messages: list[dict[str, Any]] = [*system, {"role": "user", "content": request.text}]
        try:
            return self.endpoint.ask(ChatRequest(request.name, messages, fields), lambda body: read_reply(body, False))
        except UnansweredError as error:
            return ReceivedReply(None, failure=str(error))


class ExportedText:
    """A model that lm.export wrote, by the built-in generation, in our chat format or its base model's template."""

    def __init__(self, config: AskConfig) -> None:
        folder = Path(config.model)
        self.config, self.name, self.digest = config, folder.name, file_digest(folder)
        self.generator = Generator.from_pretrained(folder, batch_size=config.batch_size)
        self.format = request_format(self.generator.vocabulary)

    def answers(self, requests: Sequence[TextRequest]) -> Iterator[ReceivedReply]:
        """See `TextModel`."""
        vocabulary, ends = self.generator.vocabulary, self.format.end_ids
        for begin in range(0, len(requests), 8 * self.config.batch_size):
            some = requests[begin : begin + 8 * self.config.batch_size]
            rows = self.generator.generate(
                [self._prompt(request) for request in some],
                max_new_tokens=[request.task.max_new_tokens for request in some],
                stop=ends,
                allowed="text",
                temperature=self.config.temperature,
                seeds=[seed_of(self.config.seed, request.name) for request in some],
            )
            ids_known = self.format.has_targets  # of our own format answers are encoded again
            for row in rows:
                reply = written_reply(row, vocabulary, ends)
                yield replace(reply, ids=tuple(row.tolist())) if ids_known else reply

    def prompt_ids(self, request: TextRequest) -> list[int]:
        """See `TextModel`."""
        return self._prompt(request).tolist() if self.format.has_targets else []

    def _prompt(self, request: TextRequest) -> Ids:
        return self.format.prompt(request.text, system=self.config.system)


class TransformersText:
    """A model of transformers that has a chat template, one request at a time."""

    def __init__(self, config: AskConfig) -> None:
        self.config, self.model = config, TransformersModel(Path(config.model), config.threads)
        self.name, self.digest = self.model.name, self.model.digest
        if not self.model.has_template:
            remedy = "give a model that was tuned to follow instructions"
            raise UserError(config.model, found="a text model without a chat template", remedy=remedy)

    def answers(self, requests: Sequence[TextRequest]) -> Iterator[ReceivedReply]:
        """See `TextModel`."""
        for request in requests:
            settings = AnswerSettings(
                is_spoken=False,
                max_new_tokens=request.task.max_new_tokens,
                temperature=self.config.temperature,
                seed=self.config.seed,
            )
            yield self.model.reply_or_failure(self._prompt(request), settings)

    def prompt_ids(self, request: TextRequest) -> list[int]:
        """See `TextModel`."""
        return self.model.prompt_ids(self._prompt(request))

    def _prompt(self, request: TextRequest) -> ItemPrompt:
        return ItemPrompt(id=request.name, text=request.text, system=self.config.system)
