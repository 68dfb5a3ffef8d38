"""Decoding that keeps to a modality, by `transformers`' ``generate``: all families.

::

    allowed    outside a speech block              inside (after <|begin_of_audio|>)
    text       text tokens                         nothing: such prompts are refused
    speech     <|begin_of_audio|>                  speech tokens, <|end_of_audio|>
    any        all but speech tokens and           speech tokens, <|end_of_audio|>
               <|end_of_audio|>

With ``text`` and ``speech`` the ids in ``stop`` may come besides; ``<|end_of_audio|>`` never outside; padding never.
A model whose spans of speech have no marks around them (``has_marks`` false) has one kind of place: ``text`` are text
tokens there, ``speech`` speech tokens, ``any`` all but the marks. A reply in a chatbot's format, 13 text and 26 speech
tokens in turn or another, keeps to `lm.data.reply_format`.

Shapes: R rows, T tokens so far, V ids of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessor

from lm.data.reply_format import ReplyFormat, ReplyState
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .sampling import choose, prompt_seeds, uniform

ALLOWED = ("text", "speech", "any")
Ids = npt.NDArray[np.int32]


class ModalityProcessor(LogitsProcessor):
    """Sets the scores of ids that may not come next to -inf.

    Args:
        vocabulary: of the model.
        allowed: ``text``, ``speech`` or ``any``.
        stop: ids that end a row.
        num_ids: V, rows of the model's head (those beyond the vocabulary are padding and never come).
        has_marks: whether spans of speech have marks around them.
    """

    def __init__(
        self, vocabulary: Vocabulary, allowed: str, stop: Sequence[int], num_ids: int, *, has_marks: bool = True
    ) -> None:
        assert allowed in ALLOWED
        every = np.arange(num_ids)
        is_speech = vocabulary.is_speech(every)
        self.begin = vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)
        self.end = vocabulary.special(SpecialToken.END_OF_AUDIO)
        inside = is_speech | (every == self.end)
        if not has_marks and allowed == "speech":
            outside = is_speech.copy()
        elif not has_marks and allowed == "any":
            outside = (every < vocabulary.size) & ~np.isin(every, (vocabulary.pad, self.begin, self.end))
        elif allowed == "text":
            outside = vocabulary.is_text(every) & (every < vocabulary.size)
        elif allowed == "speech":
            outside = every == self.begin
        else:
            outside = (every < vocabulary.size) & ~inside & (every != vocabulary.pad)
        if allowed != "any":
            for mask in (inside, outside):
                mask[list(stop)] = True
            outside[self.end] = False
        self.inside, self.outside = torch.from_numpy(inside), torch.from_numpy(outside)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, V) for the token after input_ids (R, T)."""
        is_inside = self.in_speech(input_ids)[:, None]
        may_come = torch.where(is_inside, self.inside.to(scores.device), self.outside.to(scores.device))
        return scores.masked_fill(~may_come, float("-inf"))

    def in_speech(self, input_ids: Tensor) -> Tensor:
        """Mask (R,) of the rows that stand in a speech block: the last mark of one is its beginning."""
        places = torch.arange(1, input_ids.size(1) + 1, device=input_ids.device)
        opened = torch.where(input_ids == self.begin, places, 0).amax(-1)
        closed = torch.where(input_ids == self.end, places, 0).amax(-1)
        return opened > closed


class ReplyProcessor(LogitsProcessor):
    """Sets the scores of ids that may not come next in a reply to -inf.

    Args:
        vocabulary: of the model.
        format: of the reply.
        num_ids: V.
        prompt_length: tokens before the replies; the rows begin together behind them.
        num_rows: R.
        transcribes: whether the transcript of a spoken question comes first, where the format has one.
    """

    def __init__(
        self, vocabulary: Vocabulary, format: ReplyFormat, num_ids: int, prompt_length: int, num_rows: int,
        *, transcribes: bool,
    ) -> None:  # fmt: skip
        every = torch.arange(num_ids)
        self.is_text = torch.from_numpy(vocabulary.is_text(every.numpy())) & (every < vocabulary.size)
        self.is_speech = torch.from_numpy(vocabulary.is_speech(every.numpy()))
        self.prompt_length = prompt_length
        has_transcript = format.transcribes and transcribes
        self.states = [ReplyState(format, vocabulary, transcribes=has_transcript) for _ in range(num_rows)]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, V) for the token after input_ids (R, T); rows whose replies are over are left alone."""
        if input_ids.size(1) > self.prompt_length:
            for state, last in zip(self.states, input_ids[:, -1].tolist(), strict=True):
                if state.part != "over":
                    state.push(last)
        rows = [self._may_come(state) for state in self.states]
        return scores.masked_fill(~torch.stack(rows).to(scores.device), float("-inf"))

    def _may_come(self, state: ReplyState) -> Tensor:
        if state.part == "over":
            return torch.ones_like(self.is_text)
        may = state.next
        kept = (self.is_text & may.text) | (self.is_speech & may.speech)
        kept[list(may.marks)] = True
        return kept


class SamplingProcessor(LogitsProcessor):
    """Leaves one id in each row: drawn by `lm.inference.sampling`, by the prompt's seed and the token's number.

    So an answer does not depend on the prompts generated with it, as in `lm.inference.generation`.
    """

    def __init__(self, seeds: npt.NDArray[np.uint64], temperature: float, top_p: float, prompt_length: int) -> None:
        self.seeds, self.temperature, self.top_p, self.prompt_length = seeds, temperature, top_p, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, V) in which only the chosen id is finite."""
        steps = np.full(len(self.seeds), input_ids.size(1) - self.prompt_length)
        chosen = choose(scores.float(), self.temperature, self.top_p, uniform(self.seeds, steps))
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen.to(scores.device)[:, None], 0.0)


def load_causal_lm(folder: Path | str, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """A causal LM of transformers.

    Raises:
        UserError: no model there, or one that does not load.
    """
    from transformers import AutoModelForCausalLM

    if not (Path(folder) / "config.json").is_file():
        raise UserError(str(folder), found="no config.json", remedy="give the model folder that lm.export wrote")
    try:
        model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=getattr(torch, dtype))
    except Exception as error:  # the library raises OSError, ValueError, RuntimeError, SafetensorError, ...
        found = f"no loadable model ({' '.join(str(error).split())[:200]})"
        raise UserError(str(folder), found=found, remedy="export it again") from error
    return model.to(device)


class TransformersGenerator:
    """An exported model of any family, run by `transformers`.

    Args:
        model: a causal LM.
        vocabulary: its own.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model.eval(), vocabulary

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, dtype: str = "float32", device: str = "cpu"
    ) -> TransformersGenerator:
        """Load what lm.export wrote.

        Raises:
            UserError: no model or no vocabulary there, or one that does not load.
        """
        vocabulary = Vocabulary.from_pretrained(folder)
        return cls(load_causal_lm(folder, dtype=dtype, device=device), vocabulary)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.integer]],
        *,
        max_new_tokens: int,
        stop: Sequence[int],
        allowed: str = "any",
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
        has_marks: bool = True,
        reply: ReplyFormat | None = None,
        transcribes: bool = True,
    ) -> list[Ids]:
        """Continue each prompt until a stop id, which is part of the result, or ``max_new_tokens``.

        Args:
            prompts: rows of ids, none empty; shorter ones are padded on the left.
            max_new_tokens: at most this many.
            stop: ids that end a row.
            allowed: what may come, see the table above.
            temperature: 0 is greedy.
            top_p: nucleus mass.
            seeds: one a prompt (default: made from its tokens).
            has_marks: whether the model's spans of speech have marks around them.
            reply: the format to keep to, instead of ``allowed``: the prompts end where a reply begins.
            transcribes: whether the replies are to spoken questions, whose words come first where ``reply`` says so.

        Raises:
            UserError: text alone is asked for after a prompt that ends inside speech.
        """
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self.vocabulary.pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.from_numpy(np.asarray(prompt, dtype=np.int64))
            mask[row, longest - len(prompt) :] = 1
        num_ids = self.model.config.vocab_size
        modality = ModalityProcessor(self.vocabulary, allowed, stop, num_ids, has_marks=has_marks)
        limits: LogitsProcessor = modality
        if reply is not None:
            limits = ReplyProcessor(self.vocabulary, reply, num_ids, longest, len(prompts), transcribes=transcribes)
        elif allowed == "text" and bool(modality.in_speech(ids).any()):
            found = "a prompt that ends inside a speech block"
            raise UserError("option allowed=text", found=found, remedy="close it with <|end_of_audio|>, or allow any")
        given = prompt_seeds(prompts) if seeds is None else np.array([s % (1 << 64) for s in seeds], dtype=np.uint64)
        found = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            logits_processor=[limits, SamplingProcessor(given, temperature, top_p, longest)],
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(stop),
            pad_token_id=self.vocabulary.pad,
        )
        return [_until(row, stop) for row in found[:, longest:].cpu().numpy().astype(np.int32)]


def _until(row: Ids, stop: Sequence[int]) -> Ids:
    ends = np.flatnonzero(np.isin(row, stop))
    return row[: ends[0] + 1] if len(ends) else row
