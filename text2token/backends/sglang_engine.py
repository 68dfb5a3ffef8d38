"""SGLang in this process. Written against SGLang 0.5's `SamplingParams`; not run yet: it needs a GPU and its own torch.

A logit processor of ours, configured by each request's parameters, allows speech ids and stop ids only. Seeds of
requests hold only with SGLang's deterministic inference, which is switched on here.
"""

from __future__ import annotations

from typing import Any

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from text2token.speech_generation import SpeechGenerationConfig

from .base import EngineBackend, EngineRow, RowSampling


class SglangBackend(EngineBackend):
    """An engine of SGLang."""

    def __init__(self, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> None:
        super().__init__(config, device, vocabulary)
        try:
            import sglang
            from sglang.srt.sampling.custom_logit_processor import CustomLogitProcessor
        except ImportError as error:
            remedy = "install sglang into an environment of its own, next to speechweave, or set backend=builtin"
            raise UserError("backend=sglang", found=f"no SGLang here ({error})", remedy=remedy) from error
        self._first = int(vocabulary.speech_offset)
        self._last = self._first + int(vocabulary.num_speech_tokens)
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

    def run(self, prompts: list[list[int]], samplings: list[RowSampling]) -> list[EngineRow]:
        """Continue each prompt by speech ids until a stop id or its limit."""
        answers = self._engine.generate(
            input_ids=prompts,
            sampling_params=[sampling_options(sampling, self._first, self._last) for sampling in samplings],
            custom_logit_processor=[self._processor] * len(prompts),
        )
        return [EngineRow(answer["output_ids"], _stopped_by(answer)) for answer in answers]


def sampling_options(sampling: RowSampling, first: int, last: int) -> dict[str, Any]:
    """Sampling parameters of SGLang for one row; speech ids are ``first`` to ``last`` - 1."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "sampling_seed": sampling.seed % (1 << 31),
        "max_new_tokens": sampling.max_new_tokens,
        "stop_token_ids": sampling.stop,
        "ignore_eos": True,
        "custom_params": {"first": first, "last": last, "stop": sampling.stop},
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
