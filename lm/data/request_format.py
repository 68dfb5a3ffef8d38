"""Formats of a request and its answer: our own (`lm.data.formats`), or a base model's chat template.

A template's documents are the ids that transformers' ``apply_chat_template`` gives, then the answer, the token that
ends it, and EOS where that is another one::

    <|im_start|>user\\n Repeat this: speech <|im_end|>\\n <|im_start|>assistant\\n ^ answer <|im_end|> ^ EOS

The loss is on what stands between the marks ``^``. Speech stands in a template without BOA and EOA, which a frozen
model has never seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import UserError

from .chat_template import has_foreign_template, our_template
from .formats import ChatTurn, Said, chat_document, chat_message, chat_prompt, system_row
from .vocabulary import Ids, Vocabulary

SPEECH = "\ue000"  # a private character: the place of speech while a template is rendered


class AnsweredDocument(NamedTuple):
    """A request and its answer.

    Attributes:
        ids: (T,), EOS at the end.
        targets: begin and end of the ids that are targets; None where the ids themselves tell (`lm.data.loss_mask`).
    """

    ids: Ids
    targets: tuple[int, int] | None


class AnsweredRequest(NamedTuple):
    """A written request and its answer, which stand before another request."""

    request: str
    answer: str


class RequestFormat(ABC):
    """Layout of a request and its answer.

    Attributes:
        end_ids: ids that end an answer.
        has_targets: whether documents state their targets.
    """

    end_ids: list[int]
    has_targets: bool

    @abstractmethod
    def prompt(self, content: Said, *, system: str = "", shots: Sequence[AnsweredRequest] = ()) -> Ids:
        """The ids that the model answers.

        Args:
            content: of the request: a text, codes of speech, or several of both.
            system: instructions; "" for none.
            shots: exchanges in front of the request.
        """

    @abstractmethod
    def document(
        self, content: Said, answer: str, *, system: str = "", answer_ids: Sequence[int] = ()
    ) -> AnsweredDocument:
        """The request and its answer.

        Args:
            content: of the request.
            answer: its text.
            system: instructions; "" for none.
            answer_ids: the answer as a model wrote it, the token that ended it included; ``answer`` is encoded where
                there are none.
        """


class OwnFormat(RequestFormat):
    """The format of `lm.data.formats`, of an answer's text.

    Args:
        vocabulary: of the ids.
    """

    has_targets = False

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.end_ids = vocabulary, vocabulary.end_ids

    def prompt(self, content: Said, *, system: str = "", shots: Sequence[AnsweredRequest] = ()) -> Ids:
        """See `RequestFormat`."""
        rows = [system_row(system, self.vocabulary)] if system else []
        for shot in shots:
            rows.append(chat_message("user", shot.request, self.vocabulary))
            rows.append(chat_message("assistant", shot.answer, self.vocabulary))
        return np.concatenate([*rows, chat_prompt(content, self.vocabulary)])

    def document(
        self, content: Said, answer: str, *, system: str = "", answer_ids: Sequence[int] = ()
    ) -> AnsweredDocument:
        """See `RequestFormat`."""
        return AnsweredDocument(chat_document([ChatTurn(content, answer)], self.vocabulary, system=system), None)


class TemplateFormat(RequestFormat):
    """A base model's chat template.

    Args:
        vocabulary: of the ids.
        template: the vocabulary's own by default.
    """

    has_targets = True

    def __init__(self, vocabulary: Vocabulary, template: str | None = None) -> None:
        self.vocabulary, self.template = vocabulary, template or vocabulary.chat_template
        self.end_ids = list(dict.fromkeys([self.end_of_turn, vocabulary.eos]))

    def prompt(self, content: Said, *, system: str = "", shots: Sequence[AnsweredRequest] = ()) -> Ids:
        """See `RequestFormat`.

        Raises:
            UserError: a text with a special token in it, or a template that does not write the text as it is.
        """
        pieces = [content] if isinstance(content, str | np.ndarray) else list(content)
        texts = [system, *(text for shot in shots for text in shot), *(one for one in pieces if isinstance(one, str))]
        for text in texts:
            found = next((name for name in [SPEECH, *self.vocabulary.special_names] if name in text), None)
            if found:
                remedy = "leave it out: the model would take it for the mark itself"
                raise UserError(f"the text {text[:80]!r}", found=f"the special token {found}", remedy=remedy)
        speech = [piece for piece in pieces if not isinstance(piece, str)]
        messages = [self._message("system", system)] if system else []
        for shot in shots:
            messages += [self._message("user", shot.request), self._message("assistant", shot.answer)]
        said = "".join(piece if isinstance(piece, str) else SPEECH for piece in pieces)
        written = self._render([*messages, self._message("user", said)], has_prompt=True).split(SPEECH)
        if len(written) != len(speech) + 1:
            found = f"a template that writes {len(written) - 1} pieces of speech where a request has {len(speech)}"
            raise UserError("the chat template", found=found, remedy="give a model whose template writes texts as is")
        rows: list[Sequence[int] | Ids] = [self.vocabulary.encode_rendered(written[0])]
        for codes, text in zip(speech, written[1:], strict=True):
            rows += [self.vocabulary.speech_ids(codes), self.vocabulary.encode_rendered(text)]
        return np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])

    def document(
        self, content: Said, answer: str, *, system: str = "", answer_ids: Sequence[int] = ()
    ) -> AnsweredDocument:
        """See `RequestFormat`."""
        prompt, eos = self.prompt(content, system=system), self.vocabulary.eos
        written = list(answer_ids) or [*self.vocabulary.encode_continuation(answer), self.end_of_turn]
        stop = len(prompt) + len(written)
        ids = np.array([*prompt, *written, *([] if written[-1] == eos else [eos])], dtype=np.int32)
        return AnsweredDocument(ids, (len(prompt), stop))

    @cached_property
    def end_of_turn(self) -> int:
        """The special token that the template writes after an answer; EOS where it writes none."""
        messages = [self._message("user", "a"), self._message("assistant", SPEECH)]
        ids = self.vocabulary.encode_rendered(self._render(messages, has_prompt=False).partition(SPEECH)[2])
        return ids[0] if ids and self.vocabulary.token(ids[0]) else self.vocabulary.eos

    @cached_property
    def _has_parts(self) -> bool:
        """Whether the template writes contents only where they are lists of parts, as of models that see or hear."""
        plain: list[dict[str, Any]] = [{"role": "user", "content": SPEECH}]
        try:
            return SPEECH not in self._render(plain, has_prompt=True)
        except UserError:
            return True

    def _message(self, role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if self._has_parts else text}

    def _render(self, messages: list[dict[str, Any]], *, has_prompt: bool) -> str:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            given: Any = render_jinja_template(
                conversations=[messages],
                chat_template=self.template,
                add_generation_prompt=has_prompt,
                eos_token=self.vocabulary.eos_token,
            )
        except (TemplateError, TypeError) as error:  # a type error: of filters on contents that it does not expect
            roles = ", ".join(str(message["role"]) for message in messages)
            remedy = "leave out what it does not know (system, worked examples), or give a model of another template"
            found = f"it refuses messages of {roles} ({' '.join(str(error).split())[:200]})"
            raise UserError("the chat template", found=found, remedy=remedy) from error
        return str(given[0][0])


def request_format(vocabulary: Vocabulary) -> RequestFormat:
    """The format of requests to models of a vocabulary: its base model's template where it has one."""
    return TemplateFormat(vocabulary) if has_foreign_template(vocabulary) else OwnFormat(vocabulary)


def generation_end_ids(vocabulary: Vocabulary, template: str | None = None) -> list[int]:
    """The ids that end a generation of whatever format: the vocabulary's, and the end of a turn in a chat template.

    Args:
        vocabulary: of the model.
        template: the chat template that the model is exported with ("": none); the vocabulary's own by default.
    """
    written = vocabulary.chat_template if template is None else template
    if not written or written == our_template(vocabulary):
        return vocabulary.end_ids
    return list(dict.fromkeys([*vocabulary.end_ids, *TemplateFormat(vocabulary, written).end_ids]))
