"""vLLM in this process. Written against vLLM 0.33; run with 0.32 on a CPU, on no GPU yet: it needs its own torch.

Each request has its own seed, so its tokens do not depend on the other requests as far as vLLM's kernels are
independent of the batch: bytes may differ between runs, unlike the built-in generation's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from text2token.speech_generation import SpeechGenerationConfig

from .base import EngineBackend, EngineRow, RowSampling


class VllmBackend(EngineBackend):
    """An engine of vLLM."""

    def __init__(self, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> None:
        super().__init__(config, device, vocabulary)
        try:
            from vllm import LLM
        except ImportError as error:
            remedy = "install vllm into an environment of its own, next to speechweave, or set backend=builtin"
            raise UserError("backend=vllm", found=f"no vLLM here ({error})", remedy=remedy) from error
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

    def run(self, prompts: list[list[int]], samplings: list[RowSampling]) -> list[EngineRow]:
        """Continue each prompt by speech ids until a stop id or its limit."""
        from vllm import SamplingParams

        parameters = [SamplingParams(**sampling_options(sampling, self._speech)) for sampling in samplings]
        requests = [{"prompt_token_ids": prompt} for prompt in prompts]
        rows = [request.outputs[0] for request in self._engine.generate(requests, parameters, use_tqdm=False)]
        return [EngineRow(row.token_ids, row.stop_reason if row.finish_reason == "stop" else None) for row in rows]


def sampling_options(sampling: RowSampling, speech: list[int]) -> dict[str, Any]:
    """Arguments of vLLM's SamplingParams for one row; ``speech`` are the speech ids."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed % (1 << 63),
        "max_tokens": sampling.max_new_tokens,
        "stop_token_ids": sampling.stop,
        "allowed_token_ids": [*speech, *sampling.stop],
        "ignore_eos": True,
        "detokenize": False,
    }
