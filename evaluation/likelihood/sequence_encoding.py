"""Candidates as rows of ids, with the part of each token: context or continuation, and whether it is a mark.

::

    t2t    text of context and continuation as one text, EOS
    s2t    BOA context EOA text EOS
    t2s    text BOA continuation EOA EOS
    s2s    BOA context continuation EOA EOS

BOA, EOA and EOS are marks: they stand as in training documents (`lm.data.formats`), and their own log-probabilities are
kept apart. A row's first token has none, because nothing comes before it. Where a text's tokens differ from those of
the context alone, the continuation begins at the first that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lm.data.formats import Codes
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Ids, Vocabulary
from lm.inference.likelihood import LogProbabilities
from runtime.errors import UserError

from .likelihood_rules import CandidateLikelihood, PartLikelihood

DIGITS = 6  # of the sums that are kept
START, CONTEXT, CONTINUATION = range(3)


class TextCodec(Protocol):
    """The text side of a model's vocabulary.

    Attributes:
        begin: ids that stand before every text.
        end: ids that stand after it.
    """

    begin: Sequence[int]
    end: Sequence[int]

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text, without marks."""
        ...


class VocabularyText:
    """Text of our vocabularies: documents have no beginning mark, and end with EOS."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.begin: Sequence[int] = []
        self.end: Sequence[int] = [vocabulary.eos]
        self.encode_text = vocabulary.encode_text


class PretrainedText:
    """Text of a tokenizer of transformers, with the marks that it puts around a text itself."""

    def __init__(self, folder: Path | str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(str(folder))
        except Exception as error:  # the library raises OSError, ValueError, KeyError, ...
            found = f"no tokenizer that loads ({' '.join(str(error).split())[:200]})"
            raise UserError(str(folder), found=found, remedy="save the model's tokenizer there too") from error
        bare = self.encode_text("a")
        marked = list(self._tokenizer("a").input_ids)
        at = next(start for start in range(len(marked)) if marked[start : start + len(bare)] == bare)
        self.begin: Sequence[int] = marked[:at]
        eos = self._tokenizer.eos_token_id
        self.end: Sequence[int] = marked[at + len(bare) :] or ([] if eos is None else [int(eos)])

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text, without marks."""
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)


class CandidateRow(NamedTuple):
    """A candidate's row of ids (T,), and of each its part and whether it is a mark (T,)."""

    ids: Ids
    parts: npt.NDArray[np.int8]
    is_mark: npt.NDArray[np.bool_]

    def likelihood(self, log_probabilities: LogProbabilities) -> CandidateLikelihood:
        """The sums over its parts; ``log_probabilities`` (T - 1,) are those of the ids from the second on."""
        sums = []
        for part in (CONTEXT, CONTINUATION):
            of_part = self.parts[1:] == part
            tokens, marks = of_part & ~self.is_mark[1:], of_part & self.is_mark[1:]
            token_sum, mark_sum = (round(float(log_probabilities[chosen].sum()), DIGITS) for chosen in (tokens, marks))
            sums.append(PartLikelihood(token_sum, int(tokens.sum()), mark_sum, int(marks.sum())))
        return CandidateLikelihood(*sums)


class CandidateEncoder:
    """Encoder of candidates for one model.

    Args:
        text: its text side.
        vocabulary: None for a model without speech tokens.
        joiner: between context and continuation where both are text.
    """

    def __init__(self, text: TextCodec, vocabulary: Vocabulary | None, joiner: str = " ") -> None:
        self.text, self.vocabulary, self.joiner = text, vocabulary, joiner

    def encode(self, context: str | Codes | None, continuation: str | Codes) -> CandidateRow:
        """The row of a candidate: texts as str, speech as codes (T,).

        Raises:
            ValueError: a code beyond the codebook.
        """
        pieces: list[tuple[Sequence[int] | Ids, int, bool]] = [(self.text.begin, START, True)]
        if isinstance(continuation, str):
            if isinstance(context, str):
                pieces += self._texts(context, continuation)
            else:
                if context is not None:
                    pieces += self._speech([(context, CONTEXT)])
                pieces.append((self.text.encode_text(continuation.strip()), CONTINUATION, False))
        else:
            if isinstance(context, str):
                pieces.append((self.text.encode_text(context.strip()), CONTEXT, False))
                context = None
            parts = [] if context is None else [(context, CONTEXT)]
            pieces += self._speech([*parts, (continuation, CONTINUATION)])
        pieces.append((self.text.end, CONTINUATION, True))
        lengths = [len(ids) for ids, _, _ in pieces]
        return CandidateRow(
            np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _, _ in pieces]),
            np.repeat(np.array([part for _, part, _ in pieces], dtype=np.int8), lengths),
            np.repeat([is_mark for _, _, is_mark in pieces], lengths),
        )

    def _texts(self, context: str, continuation: str) -> list[tuple[Sequence[int], int, bool]]:
        is_parted = context[-1:].isspace() or continuation[:1].isspace()
        before = self.text.encode_text(context)
        whole = self.text.encode_text(context + ("" if is_parted else self.joiner) + continuation)
        common = next((at for at, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1]), None)
        border = min(len(before), len(whole)) if common is None else common
        return [(whole[:border], CONTEXT, False), (whole[border:], CONTINUATION, False)]

    def _speech(self, spans: Sequence[tuple[Codes, int]]) -> list[tuple[Sequence[int] | Ids, int, bool]]:
        """One speech block of all spans."""
        assert self.vocabulary is not None
        begin, end = (
            self.vocabulary.special(mark) for mark in (SpecialToken.BEGIN_OF_AUDIO, SpecialToken.END_OF_AUDIO)
        )
        inner = [(self.vocabulary.speech_ids(codes), part, False) for codes, part in spans]
        return [([begin], spans[0][1], True), *inner, ([end], spans[-1][1], True)]
