"""Generation from an exported model: many prompts at once, or sequences that are fed and continued piece by piece.

    generator = Generator.from_pretrained("runs/text2token/export/model")
    rows = generator.generate([tts_prompt("hello", "ann", v)], max_new_tokens=100, stop=[v.special("end_of_audio")],
                              allowed="speech", temperature=0.8, top_p=0.95, seeds=[1])

A prompt that ends frees its row for the next one, so the rows stay full until prompts run out, and then the last ones
are moved together. What a prompt yields depends on the prompt, its seed and the options only, not on batch size or
order (see `lm.inference.cached_llama` for how far this goes).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lm.data.vocabulary import Ids, Vocabulary
from runtime.errors import UserError

from .batch_invariant_linear import BatchInvariantLinear
from .batching import BatchPolicy, ContinuousBatch, GenerationRequest
from .cached_llama import PADDING, CachedLlama, round_up
from .likelihood import LogProbabilities, TargetIds, TargetModality, length_buckets, target_log_probabilities
from .output_head import Allowed, OutputHeads
from .sampling import prompt_seeds

REFILL_SHARE = 1 / 8  # of the rows must be free before prompts that wait are run
PROMPT_TOKENS = 4096  # of prompts run at once in bulk generation, padding included


class Generator:
    """A model and its vocabulary.

    Args:
        model: the weights.
        vocabulary: of the model.
        batch_size: prompts run at once; changes speed and memory, not results.
        has_graphs: decode by CUDA graphs over a cache of fixed shape (`lm.inference.cuda_graph`; results are the same).
    """

    def __init__(
        self, model: CachedLlama, vocabulary: Vocabulary, *, batch_size: int = 64, has_graphs: bool = False
    ) -> None:
        if model.num_embeddings < vocabulary.size:
            found = f"{model.num_embeddings} embedding rows for a vocabulary of {vocabulary.size}"
            raise UserError("the model", found=found, remedy="give the vocabulary it was trained with")
        self.model, self.vocabulary = model, vocabulary
        self.batch_size, self.has_graphs = batch_size, has_graphs
        self.heads = OutputHeads(model, vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        *,
        vocabulary: Vocabulary | None = None,
        batch_size: int = 64,
        dtype: str = "float32",
        device: str = "cpu",
        has_graphs: bool = False,
    ) -> Generator:
        """Load an exported model's folder, which holds its vocabulary.

        Args:
            folder: what lm.export wrote.
            vocabulary: refuse a model of another vocabulary than this.
            batch_size: prompts run at once.
            dtype: "float32" or "bfloat16" (faster on CPUs with AVX512-BF16 or AMX, and on GPUs).
            device: a torch device.
            has_graphs: decode by CUDA graphs.
        """
        own = Vocabulary.from_pretrained(folder)
        if vocabulary is not None and own.fingerprint != vocabulary.fingerprint:
            found = f"a model of vocabulary {own.fingerprint}, but the vocabulary given is {vocabulary.fingerprint}"
            raise UserError(str(folder), found=found, remedy="give a model trained with this vocabulary")
        model = CachedLlama.from_pretrained(folder, dtype=dtype, device=device)
        return cls(model, own, batch_size=batch_size, has_graphs=has_graphs)

    @property
    def max_length(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self.model.max_length

    def batch(self, num_rows: int) -> ContinuousBatch:
        """Rows that are fed and continued piece by piece, for serving."""
        return ContinuousBatch(self.model, self.heads, num_rows)

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.integer]],
        *,
        max_new_tokens: int | Sequence[int],
        stop: Sequence[int],
        allowed: Allowed | Sequence[int] = "any",
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
    ) -> list[Ids]:
        """Continue each prompt until a stop id, which is part of the result, or ``max_new_tokens``.

        Args:
            prompts: rows of ids, none empty.
            max_new_tokens: one number, or one for each prompt.
            stop: ids that end a row; always allowed.
            allowed: text tokens, speech tokens, both, these ids, or any id but padding.
            temperature: 0 is greedy.
            top_p: nucleus mass.
            seeds: one for each prompt (default: made from its tokens, so equal prompts are answered equally).
        """
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        assert len(limits) == len(prompts) and all(len(prompt) for prompt in prompts)
        given = prompt_seeds(prompts) if seeds is None else seeds
        requests = [
            GenerationRequest(
                max_new_tokens=limit,
                stop=tuple(stop),
                allowed=allowed if isinstance(allowed, str) else tuple(allowed),
                temperature=temperature,
                top_p=top_p,
                seed=int(seed),
            )
            for limit, seed in zip(limits, given, strict=True)
        ]
        return self._run(prompts, requests)

    def _run(self, prompts: Sequence[npt.NDArray[np.integer]], requests: Sequence[GenerationRequest]) -> list[Ids]:
        """Keep the rows of a batch full until all prompts are continued."""
        new: list[list[int]] = [[] for _ in prompts]
        lengths = [len(one) + request.max_new_tokens for one, request in zip(prompts, requests, strict=True)]
        queue = [number for number, request in enumerate(requests) if request.max_new_tokens > 0]
        queue.sort(key=lambda number: (lengths[number], number))  # the longest are taken first, and alike ones together
        longest = lengths[queue[-1]] if queue else 0
        self.model.check_length(longest)
        fixed_length = longest + PADDING if self.has_graphs else 0
        policy = BatchPolicy(prompt_tokens=PROMPT_TOKENS, is_bulk=True, fixed_length=fixed_length)
        batch = ContinuousBatch(self.model, self.heads, min(self.batch_size, len(queue)), policy)
        num_refilled = batch.num_rows * REFILL_SHARE
        prompt_of = np.zeros(batch.num_rows, dtype=np.int64)
        while queue or batch.num_open:
            free = batch.free_rows
            if len(free) >= num_refilled or not batch.num_open:
                for row in free[: len(queue)].tolist():
                    prompt_of[row] = number = queue.pop()
                    batch.open(row)
                    batch.feed(row, prompts[number])
                    batch.ask(row, requests[number])
            if not queue:
                prompt_of = prompt_of[batch.compact()]
            for made in batch.step():
                new[prompt_of[made.row]].append(made.token)
                if made.is_last:
                    batch.close(made.row)
        return [np.array(ids, dtype=np.int32) for ids in new]

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Ids], modality: TargetModality = "any") -> list[LogProbabilities]:
        """See `lm.inference.likelihood.LikelihoodModel`; NaN where a lent vector stands."""
        found: list[LogProbabilities] = [np.zeros(0) for _ in rows]
        lengths = [len(row) for row in rows]
        self.model.check_length(max(lengths, default=0))
        head = BatchInvariantLinear(self.model.head[: self.vocabulary.size])
        scored = TargetIds(self.vocabulary, self.vocabulary.size, modality)
        for batch in length_buckets(lengths, PROMPT_TOKENS, PADDING):
            padded = round_up(max(lengths[batch[0]], 1))
            cache = self.model.new_cache(len(batch), padded)
            sequences = [np.asarray(rows[number]) for number in batch]
            hidden_RPD = self.model.forward_padded(sequences, cache, np.arange(len(batch)), padded)
            for hidden_PD, ids, number in zip(hidden_RPD, sequences, batch, strict=True):
                if len(ids) > 1:
                    logits = self.model.logits(hidden_PD[: len(ids) - 1], head)
                    is_lent = self.model.vectors.is_lent(ids[1:])  # nothing predicts a vector
                    targets = torch.from_numpy(np.where(is_lent, 0, ids[1:]).astype(np.int64)).to(self.model.device)
                    values = target_log_probabilities(logits, targets, scored).double().cpu().numpy()
                    found[number] = np.where(is_lent, np.nan, values)
        return found
