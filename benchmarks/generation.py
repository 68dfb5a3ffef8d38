"""Tokens a CPU-second of the built-in generation beside `transformers`' ``generate``, on prompts like text2token's.

    python -m benchmarks.generation [--prompts 300] [--layers 8] [--width 256]

Both run the same random model on one thread; `transformers` gets batches sorted by length, the best order for it, and
greedy choice; the built-in generation also samples (temperature 0.8, top-p 0.95). Span lengths are Poisson(10) words of
five tokens. The last lines check that samples are equal for all batch sizes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from lm.bpe import train_bpe
from lm.cached_llama import CachedLlama
from lm.generation import Generator
from lm.vocabulary import build_vocabulary

TOKENS_A_WORD = 5


def main() -> None:
    """Measure and print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vocabulary = build_vocabulary(train_bpe(["a b"], 300), num_speech_tokens=512, speech_tokenizer="none")
    model = random_model(options.layers, options.width)
    print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M parameters")
    random = np.random.default_rng(0)
    prompts = [random.integers(0, 300, random.integers(6, 20)).astype(np.int32) for _ in range(options.prompts)]
    limits = [max(1, int(words)) * TOKENS_A_WORD for words in random.poisson(10, options.prompts)]
    for dtype in (torch.float32, torch.bfloat16):
        cast, samples = model.to(dtype), []
        for batch_size in (16, 64):
            generator = Generator(CachedLlama(cast), vocabulary, batch_size=batch_size)
            built_in = partial(
                generator.generate, prompts, max_new_tokens=limits, stop=[], allowed="speech", top_p=0.95
            )
            name, total = f"{dtype} batch {batch_size}", sum(limits)
            report(f"{name} built-in, greedy ", total, built_in)
            samples.append(report(f"{name} built-in, sampled", total, partial(built_in, temperature=0.8)))
            theirs = partial(transformers_generate, cast, prompts, limits, batch_size)
            report(f"{name} transformers     ", total, theirs)
        equal = sum(np.array_equal(one, other) for one, other in zip(*samples, strict=True))
        print(f"{dtype}: {equal} of {len(prompts)} samples equal at both batch sizes")


def random_model(layers: int, width: int) -> Any:
    """A Llama of random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=2560,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 64,
        intermediate_size=width * 11 // 4,
        max_position_embeddings=1024,
    )
    return LlamaForCausalLM(config).eval()


def report(name: str, num_tokens: int, work: Callable[[], Any]) -> Any:
    """Do the work and print its tokens a CPU-second."""
    started = time.process_time()
    result = work()
    print(f"{name}  {num_tokens / (time.process_time() - started):7.0f} tokens/s", flush=True)
    return result


def transformers_generate(model: Any, prompts: list[Any], limits: list[int], batch_size: int) -> None:
    """The same work by `transformers`, in batches of like length."""
    order = sorted(range(len(prompts)), key=lambda number: limits[number])
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        longest, most = max(len(prompts[row]) for row in rows), max(limits[row] for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, longest - len(prompts[row]) :] = torch.from_numpy(prompts[row].astype(np.int64))
            mask[at, longest - len(prompts[row]) :] = 1
        model.generate(
            ids, attention_mask=mask, max_new_tokens=most, min_new_tokens=most, do_sample=False, pad_token_id=0
        )


if __name__ == "__main__":
    main()
