"""Table of the benchmarks. To add one: a module with its `Benchmark`, and a row here."""

from __future__ import annotations

from collections.abc import Mapping

from .benchmark import Benchmark
from .judged_chat import BIG_BENCH_AUDIO, GENERAL_QA, KNOWLEDGE_QA, OPEN_AUDIO_BENCH
from .speech_instruct_bench import SPEECH_INSTRUCT_BENCH
from .speech_mmlu import SPEECH_MMLU
from .spoken_qa import LLAMA_QUESTIONS, NQ_OPEN, TRIVIA_QA, WEB_QUESTIONS
from .uro_bench import URO_BENCH
from .voice_bench import VOICE_BENCH
from .world_questions import WORLD_QUESTIONS

BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        WEB_QUESTIONS,
        LLAMA_QUESTIONS,
        TRIVIA_QA,
        NQ_OPEN,
        WORLD_QUESTIONS,
        SPEECH_INSTRUCT_BENCH,
        VOICE_BENCH,
        OPEN_AUDIO_BENCH,
        URO_BENCH,
        BIG_BENCH_AUDIO,
        SPEECH_MMLU,
        GENERAL_QA,
        KNOWLEDGE_QA,
    )
}
