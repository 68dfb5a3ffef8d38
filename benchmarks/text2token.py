"""Tokens a CPU-second of the built-in generation and of `transformers`' ``generate``: same weights, type, batch size.

    python -m benchmarks.text2token                                    # random weights, lengths known beforehand
    python -m benchmarks.text2token --model runs/quickstart/text2token_model/model \
        --texts runs/quickstart/corpus/texts.jsonl                     # a trained model that ends by itself
    python -m benchmarks.text2token --device cuda --recipe recipes/text2token_1.5b.yaml    # seconds, not CPU-seconds

Documents are cut by the Poisson policy. `transformers` gets the spans in the documents' order, left-padded batches,
greedy, as one would call it; a batch runs until its last row ends. The built-in generation gets the same list; it is
timed greedy and sampled (temperature 0.8, top-p 0.95). The three take turns; medians are printed. In fp32 the rows of
both are compared token for token; samples are compared between batch sizes.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lm.data.formats import tts_prompt
from lm.data.special_tokens import SpecialToken
from lm.data.text_files import parse_text
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.inference.cached_llama import CachedLlama
from lm.inference.generation import Generator
from runtime.command import Command
from runtime.config import Options, option
from runtime.errors import check_option
from runtime.hashing import seed_of
from text2token.gate import GateConfig
from text2token.spans.policies import SpanConfig, choose_spans

TOKENS_A_WORD = 5
DTYPES = (torch.float32, torch.bfloat16)


class Prompts(NamedTuple):
    """Prompts, the most new tokens of each, and the id that ends a row (None: only the limits do)."""

    prompts: list[np.ndarray]
    limits: list[int]
    stop: int | None


@dataclass(kw_only=True)
class GenerationBenchmark(Options):
    """Options of benchmarks.text2token.

    Attributes:
        spans: number of prompts.
        repeat: number of timings; their median is printed.
        batch_sizes: to compare.
        layers: of a model with random weights.
        width: of a model with random weights.
        model: an exported text-to-token model, instead of random weights.
        texts: JSON lines of texts for ``model``.
        recipe: of lm.train, whose shape a model with random weights takes.
        device: a torch device.
    """

    spans: int = option(256, at_least=1)
    repeat: int = option(3, at_least=1)
    batch_sizes: list[int] = option([16, 64], at_least=1)
    layers: int = option(8, at_least=1)
    width: int = option(256, at_least=64)
    model: str = ""
    texts: str = ""
    recipe: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.texts) or not self.model, "texts", self.texts, "give texts for the model")


def run(options: GenerationBenchmark) -> None:
    """Measure and print one line a setting."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {version_of('transformers')}, {platform.processor() or 'cpu'}")
    if options.model:
        vocabulary, model = Vocabulary.from_pretrained(options.model), load(options.model)
        work = spans_of_texts(read_texts(options.texts), vocabulary, options.spans, ends_itself=True)
    else:
        vocabulary = build_vocabulary(
            train_bpe(["a b"], 300), num_speech_tokens=2048, speech_tokenizer="none", speakers=["ann"]
        )
        shape = shape_of_recipe(options.recipe) if options.recipe else shape_of(options.layers, options.width)
        model = random_model(vocabulary, shape)
        work = spans_of_texts(made_texts(), vocabulary, options.spans, ends_itself=False)
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{size:.1f} M parameters, {len(work.prompts)} spans, in the documents' order for transformers")
    for dtype in DTYPES:
        cast = model.to(device=options.device, dtype=dtype)
        samples = [compare(cast, vocabulary, work, batch_size, options.repeat) for batch_size in options.batch_sizes]
        equal = [all(map(np.array_equal, samples[0], other)) for other in samples[1:]]
        print(f"{dtype}: samples equal at all batch sizes: {all(equal)}")


def compare(model: Any, vocabulary: Vocabulary, work: Prompts, batch_size: int, repeat: int) -> list[np.ndarray]:
    """Time both; returns the built-in generation's samples."""
    generator = Generator(CachedLlama(model), vocabulary, batch_size=batch_size)
    stop = [] if work.stop is None else [work.stop]
    built_in = partial(
        generator.generate, work.prompts, max_new_tokens=work.limits, stop=stop, allowed="speech", top_p=0.95
    )
    theirs = partial(transformers_generate, model, work, batch_size)
    tasks: dict[str, Callable[[], Any]] = {
        "built-in": built_in,
        "sampled": partial(built_in, temperature=0.8),
        "transformers": theirs,
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    results: dict[str, Any] = {}
    clock = time.process_time if generator.model.device.type == "cpu" else synchronised_time
    for _ in range(repeat):
        for name, task in tasks.items():
            started = clock()
            results[name] = task()
            seconds[name].append(clock() - started)
    # what a row holds after its end, or beyond its own limit, is of no use and not counted
    counts = {"built-in": total(results["built-in"]), "sampled": total(results["sampled"])}
    counts["transformers"] = total(results["transformers"])
    speeds = {name: counts[name] / float(np.median(seconds[name])) for name in tasks}
    ratio = speeds["built-in"] / speeds["transformers"]
    print(
        f"{model.dtype} batch {batch_size}: "
        + ", ".join(f"{name} {speed:.0f} tokens/s" for name, speed in speeds.items())
        + f"; built-in / transformers {ratio:.2f}x",
        flush=True,
    )
    if model.dtype == torch.float32:
        anything = generator.generate(work.prompts, max_new_tokens=work.limits, stop=stop, allowed="any")
        equal = sum(map(np.array_equal, anything, results["transformers"]))
        print(f"  greedy rows equal to transformers' token for token: {equal} of {len(anything)}")
    return results["sampled"]


def transformers_generate(model: Any, work: Prompts, batch_size: int) -> list[np.ndarray]:
    """The same work by `transformers`: batches in the order given; rows are cut at their own end afterwards."""
    rows: list[np.ndarray] = []
    for start in range(0, len(work.prompts), batch_size):
        prompts, limits = work.prompts[start : start + batch_size], work.limits[start : start + batch_size]
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, prompt in enumerate(prompts):
            ids[at, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            mask[at, longest - len(prompt) :] = 1
        ends = {"min_new_tokens": max(limits)} if work.stop is None else {"eos_token_id": work.stop}
        made = model.generate(
            ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max(limits),
            do_sample=False,
            pad_token_id=0,
            **ends,
        )
        for row, limit in zip(made[:, longest:].cpu().numpy(), limits, strict=True):
            ended = np.flatnonzero(row == work.stop) if work.stop is not None else np.zeros(0, dtype=int)
            rows.append(row[: min(limit, int(ended[0]) + 1 if len(ended) else limit)])
    return rows


def spans_of_texts(texts: Sequence[str], vocabulary: Vocabulary, most: int, *, ends_itself: bool) -> Prompts:
    """The spans of the texts in order, as prompts; a speaker for each."""
    prompts, limits, gate = [], [], GateConfig()
    speakers = list(vocabulary.speakers)
    for number, text in enumerate(texts):
        random = np.random.default_rng(seed_of(0, number))
        for span in choose_spans(text, SpanConfig(), random):
            words = text[span.start : span.end].replace(".", "")
            prompts.append(tts_prompt(words, str(random.choice(speakers)), vocabulary))
            limits.append(gate.max_tokens(words) + 1 if ends_itself else span.num_words * TOKENS_A_WORD)
    return Prompts(
        prompts[:most], limits[:most], vocabulary.special(SpecialToken.END_OF_AUDIO) if ends_itself else None
    )


def made_texts(count: int = 200) -> list[str]:
    """Documents of 50 to 400 made-up words."""
    random = np.random.default_rng(0)
    letters = list("abcdefghijklmnop")
    return [
        " ".join("".join(random.choice(letters, random.integers(2, 8))) for _ in range(random.integers(50, 400)))
        for _ in range(count)
    ]


def read_texts(path: str) -> list[str]:
    """The texts of a JSON lines file."""
    return [parse_text(line, str(at)).text for at, line in enumerate(Path(path).read_bytes().splitlines())]


def shape_of(layers: int, width: int) -> dict[str, int]:
    """A small model with grouped queries."""
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": width // 32,
        "num_key_value_heads": width // 64,
        "intermediate_size": width * 11 // 4,
    }


def shape_of_recipe(path: str) -> dict[str, int]:
    """The shape that a recipe of lm.train gives."""
    import yaml

    model = yaml.safe_load(Path(path).read_text())["model"]
    return {
        "num_hidden_layers": model["layers"],
        "hidden_size": model["hidden"],
        "num_attention_heads": model["heads"],
        "num_key_value_heads": model["kv_heads"],
        "intermediate_size": model["ffn"],
    }


def random_model(vocabulary: Vocabulary, shape: dict[str, int]) -> Any:
    """A Llama of random weights; padding never wins."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary.size, max_position_embeddings=1024, **shape)).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight[vocabulary.pad] = 0.0
    return model


def load(folder: str) -> Any:
    """An exported model."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def total(rows: Sequence[np.ndarray]) -> int:
    """Tokens of all rows."""
    return sum(map(len, rows))


def synchronised_time() -> float:
    """Seconds, after all work given to the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def version_of(package: str) -> str:
    """The installed version."""
    from importlib.metadata import version

    return version(package)


COMMAND = Command(
    name="benchmarks.text2token",
    words="benchmarks text2token",
    config=GenerationBenchmark,
    run=run,
    summary="Time the built-in generation and transformers' generate.",
    example="--spans 256 batch_sizes=[16,64]",
)

if __name__ == "__main__":
    COMMAND.exit()
