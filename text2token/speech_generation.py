"""Speech generation: texts and speakers -> speech tokens, by a text-to-token model behind one interface.

The tokens of a request depend on its text, speaker and seed, the model and the options only; not on batch size or on
the other requests (engines of other projects: as far as their kernels allow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from lm.data.formats import tts_prompt
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.config import Options, option

from .gate import GateConfig

Codes = npt.NDArray[np.uint16]
NO_CODES: Codes = np.zeros(0, dtype=np.uint16)
DTYPES = ("float32", "bfloat16")


@dataclass(kw_only=True)
class SpeechGenerationConfig(Options):
    """Options of speech generation, shared by the stages that use a text-to-token model.

    Attributes:
        model: the text-to-token model, a folder that lm.export wrote.
        temperature: of sampling; 0 is greedy.
        top_p: nucleus mass in (0, 1].
        normalises: give the model lower-case words without punctuation, as transcripts are; else written out only.
        gate: bounds on the speech tokens of a text.
        batch_size: prompts generated at once; changes speed only.
        threads: torch threads of each process.
        dtype: float32, or bfloat16 (faster where the processor has it).
        cuda_graphs: the built-in generation decodes by CUDA graphs; changes speed only (not tried on a GPU yet).
    """

    model: str
    temperature: float = option(0.5, at_least=0)
    top_p: float = option(0.95, above=0, at_most=1)
    normalises: bool = True
    gate: GateConfig = field(default_factory=GateConfig)
    batch_size: int = option(64, at_least=1)
    threads: int = option(1, at_least=1)
    dtype: str = option("float32", one_of=DTYPES)
    cuda_graphs: bool = False


class SpeechSampling(TypedDict):
    """Sampling of the rows of a batch.

    Attributes:
        max_new_tokens: of each row.
        stop: ids that end a row.
        allowed: ids that may be drawn.
        temperature: of the rows.
        top_p: nucleus mass.
        seeds: of each row.
    """

    max_new_tokens: Sequence[int]
    stop: Sequence[int]
    allowed: Literal["speech"]
    temperature: float
    top_p: float
    seeds: Sequence[int]


class SpeechBackend(Protocol):
    """Generation from prompts of ids: `lm.inference.generation.Generator`, or an engine that serves the model."""

    @property
    def max_length(self) -> int:
        """Most tokens of a prompt and its continuation together."""
        ...

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        **sampling: Unpack[SpeechSampling],
    ) -> list[npt.NDArray[np.int32]]:
        """Continue each prompt until a stop id (part of the result) or its limit, by its own seed."""
        ...


class SynthesisRequest(NamedTuple):
    """A text as the model gets it, its speaker, and the seed of its sampling."""

    text: str
    speaker: str
    seed: int


class GeneratedSpeech(NamedTuple):
    """Codes (T,) of a request, and whether the model ended them by itself; none where its context has no room."""

    codes: Codes
    is_finished: bool
    is_oversized: bool = False


def generate_speech(
    requests: Sequence[SynthesisRequest],
    backend: SpeechBackend,
    vocabulary: Vocabulary,
    config: SpeechGenerationConfig,
) -> list[GeneratedSpeech]:
    """The speech tokens of each request; one more than the gate's maximum is asked for, so that the gate sees it."""
    end = vocabulary.special(SpecialToken.END_OF_AUDIO)
    speech = [GeneratedSpeech(NO_CODES, is_finished=False, is_oversized=True)] * len(requests)
    prompts = [tts_prompt(request.text, request.speaker, vocabulary) for request in requests]
    limits = [config.gate.max_tokens(request.text) + 1 for request in requests]
    fitting = [at for at in range(len(requests)) if len(prompts[at]) + limits[at] <= backend.max_length]
    rows = backend.generate(
        [prompts[at] for at in fitting],
        max_new_tokens=[limits[at] for at in fitting],
        stop=[end],
        allowed="speech",
        temperature=config.temperature,
        top_p=config.top_p,
        seeds=[requests[at].seed for at in fitting],
    )
    for at, row in zip(fitting, rows, strict=True):
        speech[at] = GeneratedSpeech(vocabulary.codes(row), bool(len(row)) and int(row[-1]) == end)
    return speech
