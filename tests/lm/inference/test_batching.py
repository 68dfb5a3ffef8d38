from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.inference.batching import BatchPolicy, ContinuousBatch, GenerationRequest
from lm.inference.cached_llama import CachedLlama
from lm.inference.generation import Generator
from runtime.errors import UserError

V = build_vocabulary(
    train_bpe(["the capital of france is paris"] * 4, 300),
    num_speech_tokens=32,
    speech_tokenizer="abc",
    speakers=["ann"],
)
EOA = V.special("end_of_audio")
RNG = np.random.default_rng(3)
PROMPTS = [RNG.integers(0, V.size, length).astype(np.int32) for length in (1, 9, 40, 17, 300, 5, 64, 2)]
REQUESTS = [
    GenerationRequest(max_new_tokens=20, stop=(V.eos,), allowed="text"),
    GenerationRequest(max_new_tokens=12, stop=(EOA,), allowed="speech", temperature=0.9, top_p=0.9, seed=5),
    GenerationRequest(max_new_tokens=30, stop=(EOA, V.eos), allowed="any", temperature=1.0, seed=9),
    GenerationRequest(max_new_tokens=1, stop=(), allowed=(3, 5, 7)),
]


@pytest.fixture(scope="module")
def generator() -> Generator:
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(2)
    config = transformers.LlamaConfig(
        vocab_size=V.padded_size(16),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=512,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=V.eos,
    )
    return Generator(CachedLlama(transformers.LlamaForCausalLM(config).eval().requires_grad_(False)), V)


def alone(generator: Generator, prompt: np.ndarray, ask: GenerationRequest) -> list[int]:
    (ids,) = generator.generate(
        [prompt],
        max_new_tokens=ask.max_new_tokens,
        stop=ask.stop,
        allowed=ask.allowed,
        temperature=ask.temperature,
        top_p=ask.top_p,
        seeds=[ask.seed],
    )
    return ids.tolist()


POLICIES = {
    "serving": BatchPolicy(),
    "short pieces of prompts": BatchPolicy(prompt_tokens=24),
    "bulk": BatchPolicy(prompt_tokens=4096, is_bulk=True),
    "fixed cache": BatchPolicy(fixed_length=512),  # no graph on CPUs
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_rows_that_join_and_leave_at_any_step_yield_what_each_would_alone(
    generator: Generator, policy: BatchPolicy
) -> None:
    batch = ContinuousBatch(generator.model, generator.heads, 3, policy)
    rng = np.random.default_rng(0)
    jobs = [(prompt, ask) for prompt in PROMPTS for ask in REQUESTS]
    rng.shuffle(jobs)
    queue, running = list(range(len(jobs))), dict[int, int]()
    made: defaultdict[int, list[int]] = defaultdict(list)

    def step() -> None:
        for one in batch.step():
            made[running[one.row]].append(one.token)
            if one.is_last:
                batch.close(one.row)
                del running[one.row]

    while queue or running:
        free = [row for row in range(3) if row not in running]
        while free and queue and rng.random() < 0.5:
            row, job = free.pop(), queue.pop()
            prompt, ask = jobs[job]
            batch.open(row)
            for piece in np.split(prompt, sorted(rng.integers(0, len(prompt), 2))):
                batch.feed(row, piece)
                if rng.random() < 0.5:
                    step()
            batch.ask(row, ask)
            running[row] = job
        step()
    for job, (prompt, ask) in enumerate(jobs):
        assert made[job] == alone(generator, prompt, ask)


def test_a_sequence_that_was_cut_back_is_as_one_that_never_went_there(generator: Generator) -> None:
    batch, ask = generator.batch(2), REQUESTS[2]
    batch.open(1)
    batch.feed(1, PROMPTS[2])
    batch.ask(1, ask)
    for _ in range(6):
        batch.step()
    for kept in (43, 40, 25, 1):
        batch.cut(1, kept - 1)
        assert not batch.has_work or kept > 40
        prefix = np.append(continued(generator, ask, kept - 1), PROMPTS[3])
        batch.feed(1, PROMPTS[3])
        batch.ask(1, ask)
        found = []
        while batch.has_work:
            found += [one.token for one in batch.step()]
        assert found == alone(generator, prefix, ask)


def continued(generator: Generator, ask: GenerationRequest, length: int) -> np.ndarray:
    """The first tokens of the prompt and its continuation."""
    return np.append(PROMPTS[2], alone(generator, PROMPTS[2], ask)).astype(np.int32)[:length]


def test_a_long_prompt_holds_nobody_up(generator: Generator) -> None:
    batch = generator.batch(2)
    for row in (0, 1):
        batch.open(row)
    batch.feed(0, PROMPTS[1])
    batch.ask(0, GenerationRequest(max_new_tokens=50, stop=()))
    batch.step()
    batch.feed(1, RNG.integers(0, V.size, BatchPolicy().prompt_tokens + 100))
    assert [one.row for one in batch.step()] == [0]
    assert [one.row for one in batch.step()] == [0]
    batch.ask(1, GenerationRequest(max_new_tokens=5, stop=()))
    assert sorted(one.row for one in batch.step()) == [0, 1]


def test_speech_ends_a_request_for_both(generator: Generator) -> None:
    batch = generator.batch(1)
    batch.open(0)
    batch.feed(0, PROMPTS[1])
    batch.ask(0, GenerationRequest(max_new_tokens=200, stop=(), allowed="both", temperature=1.0, is_speech_last=True))
    found = []
    while batch.has_work:
        found += [one.token for one in batch.step()]
    assert V.is_speech(found).tolist() == [False] * (len(found) - 1) + [True]
    assert V.is_text(found[:-1]).all()


def test_what_does_not_fit_is_refused_and_a_closed_row_frees_its_room(generator: Generator) -> None:
    batch = generator.batch(1)
    batch.open(0)
    with pytest.raises(UserError, match="nothing to continue"):
        batch.ask(0, REQUESTS[0])
    with pytest.raises(UserError, match="512 positions"):
        batch.feed(0, np.ones(513, np.int32))
    batch.feed(0, np.ones(500, np.int32))
    with pytest.raises(UserError, match="512 positions"):
        batch.ask(0, REQUESTS[0])
    while batch.has_work:
        batch.step()
    assert batch.cache_length >= 499
    batch.close(0)
    assert batch.cache_length < 499


def test_probabilities_are_the_models_among_what_is_allowed(generator: Generator) -> None:
    batch = generator.batch(2)
    made: dict[int, list[tuple[int, float]]] = {0: [], 1: []}
    for row, is_scored in ((0, True), (1, False)):
        batch.open(row)
        batch.feed(row, PROMPTS[1])
        batch.ask(row, GenerationRequest(max_new_tokens=6, stop=(V.eos,), allowed="text", is_scored=is_scored))
    while batch.has_work:
        for new in batch.step():
            made[new.row].append((new.token, new.probability))
    assert [token for token, _ in made[0]] == [token for token, _ in made[1]]
    assert np.isnan([probability for _, probability in made[1]]).all()
    allowed = [*np.flatnonzero(V.is_text(np.arange(V.size))).tolist(), V.eos]
    ids = PROMPTS[1]
    for token, probability in made[0]:
        exact = np.exp([row[-1] for row in generator.log_probabilities([np.append(ids, id) for id in allowed])])
        assert probability == pytest.approx(exact[allowed.index(token)] / exact.sum(), rel=1e-3)
        ids = np.append(ids, token)
