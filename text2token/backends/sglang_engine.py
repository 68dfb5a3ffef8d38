"""SGLang in this process. Written against SGLang 0.5's `SamplingParams`; not run yet: it needs a GPU and its own torch.

A logit processor of ours, configured by each request's parameters, allows speech ids and stop ids only. Seeds of
requests hold only with SGLang's deterministic inference, which is switched on here.
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


class SglangBackend:
    """An engine of SGLang behind the interface of `text2token.speech_generation.SpeechBackend`.

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
            import sglang
            from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor
        except ImportError as error:
            remedy = "install sglang into an environment of its own, next to speechweave, or set backend=builtin"
            raise UserError("backend=sglang", found=f"no SGLang here ({error})", remedy=remedy) from error
        self.max_length = context_length(config.model)
        self._first, self._count = int(vocabulary.speech_offset), int(vocabulary.num_speech_tokens)
        # SGLang pickles the class for its scheduler's process; its base class exists only where SGLang is installed.
        processor: Any = type("AllowedIds", (CustomLogitProcessor,), {"__call__": keep_allowed})
        self._processor = processor.to_str()
        self._engine = sglang.Engine(
            model_path=config.model,
            skip_tokenizer_init=True,
            dtype=config.dtype,
            context_length=self.max_length,
            max_running_requests=config.batch_size,
            disable_radix_cache=True,
            enable_custom_logit_processor=True,
            enable_deterministic_inference=True,
            random_seed=0,
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
        last = self._first + self._count
        answers = self._engine.generate(
            input_ids=[[int(id) for id in prompt] for prompt in prompts],
            sampling_params=[
                sampling_options(self._first, last, list(stop), limit, temperature, top_p, seed)
                for limit, seed in zip(max_new_tokens, seeds, strict=True)
            ],
            custom_logit_processor=[self._processor] * len(prompts),
        )
        return [
            np.array(finished_row(list(answer["output_ids"]), stop, _stopped_by(answer)), np.int32)
            for answer in answers
        ]


def sampling_options(
    first: int, last: int, stop: list[int], limit: int, temperature: float, top_p: float, seed: int
) -> dict[str, Any]:
    """Sampling parameters of SGLang for one span; speech ids are ``first`` to ``last`` - 1."""
    return {
        "temperature": temperature,
        "top_p": top_p,
        "sampling_seed": seed % (1 << 31),
        "max_new_tokens": int(limit),
        "stop_token_ids": stop,
        "ignore_eos": True,
        "custom_params": {"first": first, "last": last, "stop": stop},
    }


def keep_allowed(processor: Any, logits: Any, custom_param_list: list[dict[str, Any]]) -> Any:
    """Mask the ids that each row's parameters do not allow: logits (R, V), changed in place."""
    for row, allowed in enumerate(custom_param_list):
        kept = logits[row, allowed["stop"]].clone()
        logits[row, : allowed["first"]] = float("-inf")
        logits[row, allowed["last"] :] = float("-inf")
        logits[row, allowed["stop"]] = kept
    return logits


def _stopped_by(answer: dict[str, Any]) -> Any:
    reason = answer["meta_info"]["finish_reason"]
    return reason.get("matched") if reason and reason.get("type") == "stop" else None
