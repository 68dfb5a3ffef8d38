"""What our side does for vLLM and SGLang; their own side only where they are installed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from runtime.errors import UserError
from text2token.backends.base import EngineBackend, EngineRow, RowSampling, finished_row
from text2token.backends.sglang_engine import keep_allowed
from text2token.backends.sglang_engine import sampling_options as sglang_options
from text2token.backends.table import open_backend
from text2token.backends.vllm_engine import sampling_options as vllm_options
from text2token.speech_generation import SpeechGenerationConfig


def options(folder: Path) -> SpeechGenerationConfig:
    return SpeechGenerationConfig(model=str(folder), batch_size=4)


def test_builtin_is_the_generator(model_folder: Path, vocabulary: Vocabulary) -> None:
    backend = open_backend("builtin", options(model_folder), "cpu", vocabulary)
    assert isinstance(backend, Generator) and backend.batch_size == 4 and backend.max_length == 512


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_an_engine_that_is_not_there_is_named(name: str, model_folder: Path, vocabulary: Vocabulary) -> None:
    try:
        __import__(name)
    except ImportError:
        with pytest.raises(UserError, match=f"backend={name}.*install {name}.*backend=builtin"):
            open_backend(name, options(model_folder), "cpu", vocabulary)


@pytest.mark.parametrize(
    ("ids", "stopped_by", "row"),
    [([7, 8, 3], 3, [7, 8, 3]), ([7, 8], 3, [7, 8, 3]), ([7, 8], None, [7, 8]), ([], 3, [3]), ([7, 8], "x", [7, 8])],
)
def test_rows_end_with_the_stop_id(ids: list[int], stopped_by: object, row: list[int]) -> None:
    assert finished_row(ids, [3], stopped_by) == row


def test_an_engine_gets_each_rows_sampling(model_folder: Path, vocabulary: Vocabulary) -> None:
    class Echo(EngineBackend):
        def run(self, prompts: list[list[int]], samplings: list[RowSampling]) -> list[EngineRow]:
            assert samplings == [RowSampling([3], 9, 0.5, 0.9, 11), RowSampling([3], 8, 0.5, 0.9, 12)]
            return [EngineRow(prompt, 3) for prompt in prompts]

    backend = Echo(options(model_folder), "cpu", vocabulary)
    prompts = [np.array([7, 8], np.int32), np.array([9], np.int32)]
    rows = backend.generate(
        prompts, max_new_tokens=[9, 8], stop=[3], allowed="speech", temperature=0.5, top_p=0.9, seeds=[11, 12]
    )
    assert [row.tolist() for row in rows] == [[7, 8, 3], [9, 3]] and backend.max_length == 512


def test_only_allowed_ids_are_left() -> None:
    logits = torch.arange(20, dtype=torch.float32).repeat(2, 1)
    given = [{"first": 10, "last": 14, "stop": [3]}, {"first": 0, "last": 2, "stop": [19, 5]}]
    left = keep_allowed(None, logits, given)
    assert [row.isfinite().nonzero().flatten().tolist() for row in left] == [[3, 10, 11, 12, 13], [0, 1, 5, 19]]
    assert left[0, 3] == 3 and left[1, 19] == 19


def test_seeds_fit_the_engines() -> None:
    sampling = RowSampling([3], 9, 0.5, 0.9, (1 << 64) - 1)
    assert 0 <= vllm_options(sampling, [5])["seed"] < 1 << 63
    assert 0 <= sglang_options(sampling, 5, 9)["sampling_seed"] < 1 << 31


def test_vllm_takes_the_parameters() -> None:
    vllm = pytest.importorskip("vllm")
    made = vllm.SamplingParams(**vllm_options(RowSampling([3], 9, 0.5, 0.9, 11), [5, 6]))
    assert (made.max_tokens, made.seed, made.allowed_token_ids) == (9, 11, [5, 6, 3])


def test_sglang_takes_the_parameters() -> None:
    parameters = pytest.importorskip("sglang.srt.sampling.sampling_params")
    made = parameters.SamplingParams(**sglang_options(RowSampling([3], 9, 0.5, 0.9, 11), 5, 9))
    assert (made.max_new_tokens, made.sampling_seed) == (9, 11)
