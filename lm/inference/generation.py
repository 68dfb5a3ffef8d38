"""Generation from an exported model: batches of prompts, or one session that listens and speaks token by token.

    generator = Generator.from_pretrained("runs/text2token/export/model")
    rows = generator.generate([tts_prompt("hello", "ann", v)], max_new_tokens=100, stop=[v.special("end_of_audio")],
                              allowed="speech", temperature=0.8, top_p=0.95, seeds=[1])

A batch has slots; a prompt that ends frees its slot for the next one, so the slots stay full until prompts run out,
and then the last rows are moved together. What a prompt yields depends on the prompt, its seed and the options only,
not on batch size or order (see `lm.inference.cached_llama` for how far this goes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .batch import DecodeSlots, Ids, round_up, run_prompts
from .batch_invariant_linear import BatchInvariantLinear
from .cached_llama import CachedLlama
from .sampling import choose, prompt_seeds, uniform

Allowed = Literal["text", "speech", "both", "any"]

REFILL_SHARE = 1 / 8  # of the slots must be free before prompts that wait are run


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
        self._heads: dict[tuple[str, tuple[int, ...]], tuple[BatchInvariantLinear, Ids]] = {}

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

    @torch.inference_mode()
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
            allowed: what may come: text tokens, speech tokens, both, these ids, or any id but padding.
            temperature: 0 is greedy.
            top_p: nucleus mass.
            seeds: one for each prompt (default: made from its tokens, so equal prompts are answered equally).
        """
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        assert len(limits) == len(prompts) and all(len(prompt) for prompt in prompts)
        given = prompt_seeds(prompts) if seeds is None else np.array([s % (1 << 64) for s in seeds], dtype=np.uint64)
        results: list[Ids] = [np.zeros(0, dtype=np.int32)] * len(prompts)
        queue = sorted(
            (number for number in range(len(prompts)) if limits[number] > 0),
            key=lambda number: (len(prompts[number]) + limits[number], number),
        )  # the longest are taken first, and neighbours are alike in length
        if not queue:
            return results
        num_slots = min(self.batch_size, len(queue))
        ends = np.array([len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)])
        self.model.check_length(int(ends[queue].max()))
        head, ids_N = self.head(allowed, tuple(stop))
        batch = DecodeSlots(self.model, num_slots, ends, given, limits, self.has_graphs)
        while queue or batch.num_active:
            if queue and batch.num_free >= (num_slots * REFILL_SHARE if batch.num_active else 1):
                taken = [queue.pop() for _ in range(min(batch.num_free, len(queue)))]
                rows, last = batch.admit(taken, prompts)
            else:
                if not queue:
                    batch.compact()
                rows, last = batch.step()
            scores = self.model.logits(last, head)
            index = choose(scores, temperature, top_p, batch.uniform(rows)).cpu().numpy()
            for number, ids in batch.extend(rows, ids_N[index], stop):
                results[number] = ids
        return results

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[npt.NDArray[np.integer]], continuations: Sequence[npt.NDArray[np.integer]]
    ) -> list[float]:
        """Log-likelihood of each continuation after its prompt (sum over its tokens, over the whole vocabulary)."""
        scores = []
        head = BatchInvariantLinear(self.model.head[: self.vocabulary.size])
        for prompt, continuation in zip(prompts, continuations, strict=True):
            ids = torch.from_numpy(np.concatenate([prompt, continuation]).astype(np.int64)).to(self.model.device)
            cache = self.model.new_cache(1, len(ids))
            positions = torch.arange(len(ids), device=self.model.device)[None]
            hidden = self.model.forward(ids[None], positions, cache, slice(0, 1), len(ids))[0, len(prompt) - 1 : -1]
            log_probabilities = self.model.logits(hidden, head).log_softmax(-1)
            scores.append(float(log_probabilities.gather(-1, ids[len(prompt) :, None]).double().sum()))
        return scores

    def session(self) -> Session:
        """A single sequence, fed and continued piece by piece."""
        return Session(self)

    def head(self, allowed: Allowed | Sequence[int], stop: tuple[int, ...]) -> tuple[BatchInvariantLinear, Ids]:
        """The head's rows of the ids that may come, and those ids in order."""
        key = (allowed if isinstance(allowed, str) else repr(tuple(allowed)), tuple(stop))
        if key not in self._heads:
            every = np.arange(self.vocabulary.size)
            if allowed == "text":
                is_kept = self.vocabulary.is_text(every)
            elif allowed == "speech":
                is_kept = self.vocabulary.is_speech(every)
            elif allowed == "both":
                is_kept = self.vocabulary.is_text(every) | self.vocabulary.is_speech(every)
            elif allowed == "any":
                is_kept = every != self.vocabulary.pad
            else:
                is_kept = np.isin(every, np.asarray(allowed))
            is_kept[list(stop)] = True
            ids = np.flatnonzero(is_kept).astype(np.int32)
            rows = self.model.head[torch.from_numpy(ids.astype(np.int64)).to(self.model.device)]
            self._heads[key] = (BatchInvariantLinear(rows), ids)
        return self._heads[key]


class Session:
    """One sequence whose cache is kept: `feed` what is heard, `generate` what is said, in any order.

    A generator that is left early (barge-in) is no harm: the context holds exactly the tokens that were yielded.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._cache = generator.model.new_cache(1, 256 if generator.model.max_length >= 256 else 32)
        self._pending: list[int] = []  # tokens of the context that the cache does not hold yet
        self._done = 0  # tokens it holds

    @property
    def length(self) -> int:
        """Tokens of the context."""
        return self._done + len(self._pending)

    def feed(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Add tokens to the context. They are run at once, but for the last, so that an answer starts sooner."""
        self._pending += [int(id) for id in ids]
        if len(self._pending) > 1:
            self._run(len(self._pending) - 1)

    def generate(
        self,
        *,
        max_new_tokens: int,
        stop: Sequence[int],
        allowed: Allowed | Sequence[int] = "any",
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[int]:
        """Yield the next tokens, the stop id included; all that was yielded is part of the context."""
        if not self._pending:
            raise ValueError("the session's context has nothing to continue: feed tokens first")
        head, ids_N = self._generator.head(allowed, tuple(stop))
        seeds = np.array([seed % (1 << 64)], dtype=np.uint64)
        for number in range(max_new_tokens):
            hidden = self._run(len(self._pending))
            with torch.inference_mode():
                scores = self._generator.model.logits(hidden, head)
                index = choose(scores, temperature, top_p, uniform(seeds, np.array([number])))
            token = int(ids_N[int(index)])
            self._pending.append(token)
            yield token
            if token in stop:
                return

    @torch.inference_mode()
    def _run(self, count: int) -> Tensor:
        """Run the first ``count`` pending tokens; the hidden state (1, D) after the last of them."""
        model = self._generator.model
        model.check_length(self._done + count)
        padded = count if count == 1 else round_up(count)
        if self._done + padded > self._cache.length:
            self._cache.fit(2 * (self._done + padded))
        prompt = np.array(self._pending[:count], dtype=np.int64)
        hidden = run_prompts(model, self._cache, [prompt], np.zeros(1, dtype=np.int64), padded, self._done)
        del self._pending[:count]
        self._done += count
        return hidden
