"""Table of the benchmarks. To add one: a module with its `Benchmark`, and a row here."""

from __future__ import annotations

from collections.abc import Mapping

from .benchmark import Benchmark
from .speech_instruct_bench import SPEECH_INSTRUCT_BENCH
from .spoken_qa import LLAMA_QUESTIONS, TRIVIA_QA, WEB_QUESTIONS

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        WEB_QUESTIONS,
        LLAMA_QUESTIONS,
        TRIVIA_QA,
        SPEECH_INSTRUCT_BENCH,
    )
}
