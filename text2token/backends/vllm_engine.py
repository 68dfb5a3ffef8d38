"""vLLM in this process. Written against vLLM 0.33's `SamplingParams`; not run yet: it needs a GPU and its own torch.

Each request has its own seed, so its tokens do not depend on the other requests as far as vLLM's kernels are
independent of the batch: bytes may differ between runs, unlike the built-in generation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from text2token.speech_generation import SpeechGenerationConfig

from .base import context_length, finished_row, select_gpu


class VllmBackend:
    """An engine of vLLM behind the interface of `text2token.speech_generation.SpeechBackend`.

    Args:
        config: the options.
        device: a torch device.
        vocabulary: of the model.

    Attributes:
        max_length: most tokens of a prompt and its continuation together.
    """

    def __init__(self, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> None:
        select_gpu(device)
        try:
            from vllm import LLM
        except ImportError as error:
            remedy = "install vllm into an environment of its own, next to speechweave, or set backend=builtin"
            raise UserError("backend=vllm", found=f"no vLLM here ({error})", remedy=remedy) from error
        self.max_length = context_length(config.model)
        self._speech = np.flatnonzero(vocabulary.is_speech(np.arange(vocabulary.size))).tolist()
        self._engine = LLM(
            model=config.model,
            skip_tokenizer_init=True,
            dtype=config.dtype,
            max_model_len=self.max_length,
            max_num_seqs=config.batch_size,
            enable_prefix_caching=False,
            seed=0,
        )

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        *,
        max_new_tokens: Sequence[int],
        stop: Sequence[int],
        allowed: Literal["speech"],
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
    ) -> list[npt.NDArray[np.int32]]:
        """Continue each prompt until a stop id (part of the result) or its limit, by its own seed."""
        from vllm import SamplingParams

        parameters = [
            SamplingParams(**sampling_options(self._speech, list(stop), limit, temperature, top_p, seed))
            for limit, seed in zip(max_new_tokens, seeds, strict=True)
        ]
        requests = [{"prompt_token_ids": [int(id) for id in prompt]} for prompt in prompts]
        rows = [request.outputs[0] for request in self._engine.generate(requests, parameters, use_tqdm=False)]
        return [np.array(finished_row(list(row.token_ids), stop, _stopped_by(row)), np.int32) for row in rows]


def sampling_options(
    speech: list[int], stop: list[int], limit: int, temperature: float, top_p: float, seed: int
) -> dict[str, Any]:
    """Arguments of vLLM's SamplingParams for one span."""
    return {
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed % (1 << 63),
        "max_tokens": int(limit),
        "stop_token_ids": stop,
        "allowed_token_ids": [*speech, *stop],
        "ignore_eos": True,
        "detokenize": False,
    }


def _stopped_by(row: Any) -> Any:
    return row.stop_reason if row.finish_reason == "stop" else None
