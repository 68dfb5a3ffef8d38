"""vLLM in this process. Written against vLLM 0.33's `SamplingParams`; not run yet: it needs a GPU and its own torch.

Each request has its own seed, so a span's tokens don't depend on the requests beside it as far as vLLM's kernels are
independent of the batch: bytes may differ between runs, unlike the built-in generation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from runtime.artefact import read_json
from runtime.errors import UserError

from .choice import BackendOptions, finished_row, show_device

if TYPE_CHECKING:
    from lm.data.vocabulary import Vocabulary


class VllmBackend:
    """An engine of vLLM behind the interface of `engine.SpeechBackend`.

    Args:
        options: what it is opened with.
        vocabulary: of the model.

    Attributes:
        max_length: most tokens of a prompt and its answer together.
    """

    def __init__(self, options: BackendOptions, vocabulary: Vocabulary) -> None:
        show_device(options.device)
        try:
            from vllm import LLM
        except ImportError as error:
            remedy = "install vllm into an environment of its own beside speechweave, or set backend=builtin"
            raise UserError("backend=vllm", found=f"no vLLM here ({error})", remedy=remedy) from error
        from pathlib import Path

        self.vocabulary = vocabulary
        self.max_length = int(read_json(Path(options.folder) / "config.json")["max_position_embeddings"])
        self._speech = np.flatnonzero(vocabulary.is_speech(np.arange(vocabulary.size))).tolist()
        self._engine = LLM(
            model=options.folder,
            skip_tokenizer_init=True,
            dtype=options.dtype,
            max_model_len=self.max_length,
            max_num_seqs=options.batch_size,
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
        return [np.array(finished_row(list(row.token_ids), list(stop), _stopped_by(row)), np.int32) for row in rows]


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
