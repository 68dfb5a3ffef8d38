from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.inference.batching import BatchPolicy, ContinuousBatch, GenerationRequest
from lm.inference.cached_llama import CachedLlama
from lm.inference.generation import Generator
from lm.inference.lent_vectors import LentVectors, fill_placeholders

torch.set_num_threads(1)
V: Vocabulary = build_vocabulary(
    train_bpe(["the capital of france is paris"] * 4, 300),
    num_speech_tokens=1, speech_tokenizer="abc", speakers=["ann"],
)  # fmt: skip
WIDTH, NEW = 64, 12


def build_model() -> torch.nn.Module:
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=V.padded_size(16), hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=96, max_position_embeddings=512, eos_token_id=V.eos,
        bos_token_id=None, pad_token_id=V.pad, initializer_range=0.15,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


MODEL = build_model()
GENERATOR = Generator(CachedLlama(MODEL), V, batch_size=4)


def documents(seed: int, count: int) -> tuple[list[np.ndarray], list[list[Tensor]]]:
    """Ids with runs of placeholders, and the vectors of each run."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    rows, vectors = [], []
    for _ in range(count):
        row: list[int] = []
        spans = []
        for length in random.integers(1, 30, random.integers(1, 4)).tolist():
            row += [*random.integers(0, 200, random.integers(1, 6)).tolist(), V.special("begin_of_audio")]
            row += [V.speech_offset] * length + [V.special("end_of_audio")]
            spans.append(torch.randn(length, WIDTH))
        rows.append(np.array(row, dtype=np.int32))
        vectors.append(spans)
    return rows, vectors


def embedded(row: np.ndarray, spans: Sequence[Tensor]) -> Tensor:
    """What transformers gets: (1, T, D)."""
    table: Tensor = MODEL.get_input_embeddings().weight  # type: ignore[operator,union-attr]
    inputs = table[torch.from_numpy(row.astype(np.int64))].clone()
    inputs[torch.from_numpy(V.is_speech(row))] = torch.cat(list(spans))
    return inputs[None]


def theirs(row: np.ndarray, spans: Sequence[Tensor]) -> list[int]:
    inputs = embedded(row, spans)
    made = MODEL.generate(  # type: ignore[operator]
        inputs_embeds=inputs, attention_mask=torch.ones(inputs.shape[:2], dtype=torch.long), max_new_tokens=NEW,
        do_sample=False, suppress_tokens=[V.pad, *range(V.size, V.padded_size(16))],
    )  # fmt: skip
    return list(made[0].tolist())


@pytest.mark.parametrize("has_graphs", [False, True])
def test_generation_from_vectors_is_that_of_transformers(has_graphs: bool) -> None:
    generator = Generator(GENERATOR.model, V, batch_size=3, has_graphs=has_graphs)
    rows, vectors = documents(0, 7)
    with generator.model.vectors.lent([span for spans in vectors for span in spans]) as flat:
        ids = iter(flat)
        pairs = list(zip(rows, vectors, strict=True))
        prompts = [fill_placeholders(row, [next(ids) for _ in spans], V) for row, spans in pairs]
        made = generator.generate(prompts, max_new_tokens=NEW, stop=[V.eos])
    assert [one.tolist() for one in made] == [theirs(row, spans) for row, spans in pairs]
    assert generator.model.vectors.num_lent == 0


def test_vectors_fed_piece_by_piece_give_what_the_whole_prompt_gives() -> None:
    rows, vectors = documents(1, 4)
    for row, spans in zip(rows, vectors, strict=True):
        with GENERATOR.model.vectors.lent(spans) as ids:
            prompt = fill_placeholders(row, ids, V)
            # also a piece that is one vector alone, and a question after a vector
            for cuts in ([], [5], [1, 2, 3, 4, 5, 6], [len(prompt) - 1]):
                batch = ContinuousBatch(GENERATOR.model, GENERATOR.heads, 2, BatchPolicy())
                batch.open(1)
                for piece in np.split(prompt, cuts):
                    batch.feed(1, piece)
                    batch.step()
                batch.ask(1, GenerationRequest(max_new_tokens=NEW, stop=(V.eos,)))
                made: list[int] = []
                while batch.has_work and len(made) < NEW:
                    made += [new.token for new in batch.step()]
                assert made == theirs(row, spans)


def test_a_prompt_that_ends_in_a_vector_and_one_that_is_a_vector_alone() -> None:
    torch.manual_seed(3)
    spans = [torch.randn(1, WIDTH)]
    for row in (np.array([V.speech_offset]), np.array([5, 6, V.speech_offset])):
        with GENERATOR.model.vectors.lent(spans) as ids:
            made = GENERATOR.generate([fill_placeholders(row, ids, V)], max_new_tokens=NEW, stop=[V.eos])
        assert made[0].tolist() == theirs(row, spans)


def test_log_probabilities_after_vectors_are_those_of_transformers() -> None:
    rows, vectors = documents(4, 3)
    for row, spans in zip(rows, vectors, strict=True):
        with torch.inference_mode(), GENERATOR.model.vectors.lent(spans) as ids:
            found = GENERATOR.log_probabilities([fill_placeholders(row, ids, V)])[0]
            logits = MODEL(inputs_embeds=embedded(row, spans)).logits[0, :-1, : V.size].float()
        wanted = logits.log_softmax(-1)[torch.arange(len(row) - 1), torch.from_numpy(row[1:].astype(np.int64))].numpy()
        is_vector = V.is_speech(row[1:])
        assert np.isnan(found[is_vector]).all()
        np.testing.assert_allclose(found[~is_vector], wanted[~is_vector], atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=30))
def test_lent_ids_are_apart_and_keep_their_vectors(steps: list[tuple[bool, int]]) -> None:
    table = LentVectors(100, 3, torch.float32, torch.device("cpu"))
    held: list[tuple[np.ndarray, Tensor]] = []
    for is_lending, count in steps:
        if is_lending:
            vectors = torch.randn(count, 3)
            held.append((table.lend(vectors), vectors))
        elif held:
            table.take_back(held.pop(count % len(held))[0])
        in_use = [id for ids, _ in held for id in ids.tolist()]
        assert len(set(in_use)) == len(in_use) == table.num_lent
        assert all(table.is_lent(ids).all() and torch.equal(table.rows(ids), vectors) for ids, vectors in held)


def test_spans_that_do_not_fit_are_refused() -> None:
    row = np.array([7, V.speech_offset, V.speech_offset, 8])
    with pytest.raises(ValueError, match="1 vectors for 2 placeholders"):
        fill_placeholders(row, [np.array([900], dtype=np.int32)], V)
    with pytest.raises(ValueError, match="0 spans of vectors for a document with 1 runs"):
        fill_placeholders(row, [], V)
    with pytest.raises(ValueError, match=r"shape \(2, 5\) for a model of width 64"):
        GENERATOR.model.vectors.lend(torch.zeros(2, 5))
