from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.inference.batch_invariant_linear import BatchInvariantLinear
from lm.inference.cached_llama import CachedLlama
from lm.inference.generation import Generator
from lm.inference.sampling import choose, uniform
from runtime.errors import UserError

torch.set_num_threads(1)
BPE = train_bpe(["the capital of france is paris"] * 4, 300)
V = build_vocabulary(BPE, num_speech_tokens=32, speech_tokenizer="abc", speakers=["ann"])
EOA = V.special("end_of_audio")
SHAPE = {
    "vocab_size": V.padded_size(16),
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "eos_token_id": V.eos,
    "bos_token_id": None,
    "pad_token_id": V.pad,
    "initializer_range": 0.15,
}


def build(family: str, **changes: object) -> torch.nn.Module:
    import transformers

    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})
    model: torch.nn.Module = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():  # norms and biases that matter
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.2)
    return model


LLAMA = build("Llama")


def prompts(count: int, longest: int = 40) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, V.size, generator.integers(1, longest)).astype(np.int32) for _ in range(count)]


def theirs(model: torch.nn.Module, prompt: np.ndarray, count: int) -> list[int]:
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    rows = model.generate(  # type: ignore[operator]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, suppress_tokens=[V.pad]
    )
    return list(rows[0, len(prompt) :].tolist())


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Llama", {}),
        ("Llama", {"num_key_value_heads": 4, "tie_word_embeddings": True, "head_dim": 32, "rope_theta": 500.0}),
        ("Llama", {"attention_bias": True, "rms_norm_eps": 1e-5}),
        ("Qwen2", {"num_key_value_heads": 1}),
        ("Qwen3", {"head_dim": 32}),
        ("Mistral", {"sliding_window": None}),
        ("Glm", {"head_dim": 16, "attention_bias": True}),
        ("Glm", {"head_dim": 32, "rope_parameters": {"rope_theta": 5e6, "rope_type": "default"}}),
        ("Glm4", {"head_dim": 16, "attention_bias": True}),
        ("Glm4", {"head_dim": 32, "num_key_value_heads": 1}),
    ],
)
def test_greedy_is_that_of_transformers(family: str, changes: dict[str, object]) -> None:
    model = build(family, **changes)
    generator = Generator(CachedLlama(model), V, batch_size=4)
    given_prompts = prompts(10)
    beyond = range(V.size, SHAPE["vocab_size"])  # rows of padding never win in the reference either
    with torch.no_grad():
        model.get_output_embeddings().weight[list(beyond)] = 0.0  # type: ignore[operator]
    got = generator.generate(given_prompts, max_new_tokens=50, stop=[V.eos])
    for prompt, row in zip(given_prompts, got, strict=True):
        assert row.tolist() == theirs(model, prompt, 50)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_results_do_not_depend_on_batch_size_or_order(temperature: float) -> None:
    given_prompts = prompts(40)
    limits = [5 + 7 * (number % 11) for number in range(40)]
    reference: list[list[int]] = []
    for batch_size in (64, 1, 3, 8, 17):
        generator = Generator(CachedLlama(LLAMA), V, batch_size=batch_size)
        order = np.random.default_rng(batch_size).permutation(40)
        rows = generator.generate(
            [given_prompts[number] for number in order],
            max_new_tokens=[limits[number] for number in order],
            stop=[EOA],
            allowed="speech",
            temperature=temperature,
            top_p=0.9,
            seeds=[1000 + int(number) for number in order],
        )
        found = [rows[place].tolist() for place in np.argsort(order)]
        reference = reference or found
        assert found == reference
    assert len({tuple(row) for row in reference}) > 20
    fixed = Generator(CachedLlama(LLAMA), V, batch_size=8, has_graphs=True)  # a cache of fixed shape; no graph on CPUs
    rows = fixed.generate(
        given_prompts,
        max_new_tokens=limits,
        stop=[EOA],
        allowed="speech",
        temperature=temperature,
        top_p=0.9,
        seeds=range(1000, 1040),
    )
    assert [row.tolist() for row in rows] == reference


def test_rows_of_a_product_do_not_depend_on_their_number() -> None:
    random = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        weight, x = (torch.randn(shape, generator=random).to(dtype) for shape in ((96, 80), (70, 80)))
        bias = torch.randn(96, generator=random).to(dtype)
        product = BatchInvariantLinear(weight, bias)
        whole = product(x)
        assert all(torch.equal(product(x[:count]), whole[:count]) for count in range(1, 71))
        exact = x.double() @ weight.double().T + bias.double()
        assert (whole.double() - exact).abs().max() <= (1e-4 if dtype == torch.float32 else 0.3)


def test_only_allowed_ids_come_and_rows_end_at_stop() -> None:
    generator = Generator(CachedLlama(LLAMA), V)
    for allowed, is_allowed in (("speech", V.is_speech), ("text", V.is_text)):
        rows = generator.generate(prompts(20), max_new_tokens=40, stop=[EOA], allowed=allowed, temperature=1.5)
        for row in rows:
            assert is_allowed(row[:-1]).all() and (is_allowed(row[-1:]).all() or row[-1] == EOA)
            assert len(row) == 40 or row[-1] == EOA
    assert any(len(row) < 40 for row in rows)
    choices = [5, 6, V.speech_offset]
    for row in generator.generate(prompts(5), max_new_tokens=9, stop=[EOA], allowed=choices, temperature=2.0):
        assert set(row.tolist()) <= {*choices, EOA}


def test_seeds() -> None:
    generator = Generator(CachedLlama(LLAMA), V)
    prompt = prompts(1)[0]
    options = {"max_new_tokens": 30, "stop": [EOA], "allowed": "speech", "temperature": 1.0}
    first, second, third = generator.generate([prompt] * 3, seeds=[1, 1, 2], **options)  # type: ignore[arg-type]
    assert first.tolist() == second.tolist() != third.tolist()
    again = generator.generate([prompt, prompt], **options)  # type: ignore[arg-type]
    assert again[0].tolist() == again[1].tolist()


def test_nothing_to_do() -> None:
    generator = Generator(CachedLlama(LLAMA), V)
    assert generator.generate([], max_new_tokens=5, stop=[EOA]) == []
    rows = generator.generate(prompts(3), max_new_tokens=[0, 2, 0], stop=[])
    assert [len(row) for row in rows] == [0, 2, 0]


@settings(max_examples=50)
@given(st.integers(0, 1000), st.floats(0.05, 1.0), st.floats(0.2, 3.0))
def test_draws_follow_the_nucleus(seed: int, top_p: float, temperature: float) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(seed)) * 2
    p = torch.softmax(logits.double() / temperature, -1)
    ranked = p.argsort(descending=True)
    size = int((p[ranked].cumsum(-1) - p[ranked] < top_p).sum())
    nucleus = ranked[:size]
    draws = (np.arange(4000) + 0.5) / 4000
    chosen = choose(logits.expand(4000, -1), temperature, top_p, draws)
    shares = torch.bincount(chosen, minlength=12).double() / 4000
    expected = torch.zeros(12, dtype=torch.double)
    expected[nucleus] = p[nucleus] / p[nucleus].sum()
    torch.testing.assert_close(shares, expected, atol=1e-3, rtol=0)


def test_uniform_numbers_are_uniform_and_repeatable() -> None:
    seeds = np.arange(20000, dtype=np.uint64) // np.uint64(100)
    steps = np.arange(20000) % 100
    numbers = uniform(seeds, steps)
    np.testing.assert_array_equal(numbers[::-1], uniform(seeds[::-1], steps[::-1]))
    assert len(np.unique(numbers)) == 20000 and numbers.min() >= 0 and numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert abs(counts - 1000).max() < 150
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no vocabulary"):
        Generator.from_pretrained(tmp_path)
    V.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no model"):
        Generator.from_pretrained(tmp_path)
    LLAMA.save_pretrained(tmp_path)  # type: ignore[operator]
    Generator.from_pretrained(tmp_path, vocabulary=V)
    other: Vocabulary = build_vocabulary(BPE, num_speech_tokens=32, speech_tokenizer="xyz", speakers=["ann"])
    with pytest.raises(UserError, match=f"{V.fingerprint}.*{other.fingerprint}"):
        Generator.from_pretrained(tmp_path, vocabulary=other)
    large = build_vocabulary(BPE, num_speech_tokens=900, speech_tokenizer="abc")
    with pytest.raises(UserError, match="embedding rows"):
        Generator(CachedLlama(LLAMA), large)
    with pytest.raises(UserError, match="sliding window 4"):
        CachedLlama(build("Mistral", sliding_window=4))
    with pytest.raises(UserError, match="512 positions"):
        Generator(CachedLlama(LLAMA), V).generate(prompts(1), max_new_tokens=512, stop=[])
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="no loadable model"):
        Generator.from_pretrained(tmp_path)
