"""Judged chat: GLM-4-Voice's appendix A.1 (General QA and Knowledge), OpenAudioBench, and Big Bench Audio.

Rows are those of `evaluation.benchmarks.spoken_qa` (a question, answers where there are any, audio). OpenAudioBench's
folders or files are named after its five sets; Big Bench Audio has ``category`` and ``official_answer``, and its
question is in the audio only.
"""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.rules.answer_match import CONTIGUOUS
from evaluation.rules.big_bench import STATED_ANSWER, task_of
from evaluation.rules.knowledge_judge import KNOWLEDGE
from evaluation.rules.measure import SetScore
from evaluation.rules.ratings import REASONING, SINGLE_ANSWER
from evaluation.rules.rule import always
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.rules.verdicts import RESULT_JUDGE, SCORE_IS_JUDGE
from evaluation.sets.item import EvaluationItem
from evaluation.sets.parts import part_of
from evaluation.sets.rows import Row

from .benchmark import Benchmark, PublishedScore
from .spoken_qa import IDS, QUESTIONS, aliases

REASONING_QA, LLAMA, WEB, TRIVIA, ALPACA = (
    "reasoning_qa",
    "llama_questions",
    "web_questions",
    "trivia_qa",
    "alpaca_eval",
)
OPEN_AUDIO_SETS = (REASONING_QA, LLAMA, WEB, TRIVIA, ALPACA)
TRANSCRIPTS = ("transcript", "transcription", *QUESTIONS)
PAPER = "2412.02612, chat evaluation; the papers' own 9B models: 2411.17607"


def item_id(row: Row, subset: str = "") -> str:
    """The row's own id, or one by file and number; within a subset."""
    own = row.text(*IDS) if any(row.values.get(name) is not None for name in IDS) else f"{row.stem}-{row.number:05d}"
    return f"{subset}/{own}" if subset else own


def read_open_question(row: Row) -> EvaluationItem:
    """A row without right answers."""
    return EvaluationItem(id=item_id(row), prompt=row.text("instruction", *QUESTIONS), audio=row.audio())


def read_known_question(row: Row) -> EvaluationItem:
    """A row with right answers; the set it came from, where it says so, is the subset."""
    source = row.values.get("source", row.values.get("dataset"))
    subset = source if isinstance(source, str) else ""
    return EvaluationItem(
        id=item_id(row, subset), prompt=row.text(*QUESTIONS), audio=row.audio(), subset=subset, references=aliases(row)
    )


def read_open_audio(row: Row) -> EvaluationItem:
    """A row of one of OpenAudioBench's five sets."""
    subset = part_of(row, OPEN_AUDIO_SETS)
    if subset is None:
        raise ValueError(f"its file and folders are named after none of {', '.join(OPEN_AUDIO_SETS)}")
    return EvaluationItem(
        id=item_id(row, subset),
        prompt=row.text("instruction", *QUESTIONS) if subset == ALPACA else row.text(*QUESTIONS),
        audio=row.audio(),
        subset=subset,
        references=() if subset == ALPACA else aliases(row),
    )


def read_big_bench_audio(row: Row) -> EvaluationItem:
    """A row of Big Bench Audio; without a transcript its category stands for the question."""
    category = row.text("category")
    task = task_of(category)
    if task is None:
        raise ValueError(f"category {category!r} is none of the four tasks")
    has_text = any(isinstance(row.values.get(name), str) for name in TRANSCRIPTS)
    return EvaluationItem(
        id=item_id(row, task),
        prompt=row.text(*TRANSCRIPTS) if has_text else f"({category}, spoken)",
        audio=row.audio("audio", "file_name", "audio_path", "path"),
        subset=task,
        references=(row.text("official_answer"),),
        details={"task": task},
    )


def open_audio_mean(scores: Mapping[str, SetScore]) -> dict[str, float]:
    """The mean of the five sets in per cent; nothing where one is missing."""
    scales = {"reasoning": ("rating", 20), "score_is": ("accuracy", 100), "alpaca": ("rating", 10)}
    parts = [
        scores[rule].means[measure].micro * scale
        for rule, (measure, scale) in scales.items()
        if rule in scores and measure in scores[rule].means
    ]
    if "judge" in scores and "accuracy" in scores["judge"].means:
        known = scores["judge"].means["accuracy"].subsets
        parts += [known[subset] * 100 for subset in (WEB, TRIVIA) if subset in known]
    return {"mean of five": sum(parts) / 5} if len(parts) == 5 else {}


def _chat_rows(column: int) -> tuple[PublishedScore, ...]:
    table = (
        ("SpeechGPT", 1.40, 2.20, 66.57), ("Mini-Omni", 2.44, 1.10, 25.28), ("Llama-Omni", 3.50, 3.90, 9.18),
        ("Moshi", 2.42, 3.60, 7.95), ("paper 9B, text-guided", 3.69, 4.70, 7.83),
        ("paper 9B, speech only", 3.18, 3.20, None),
        ("GLM-4-Voice", 5.40, 5.20, 5.74),
    )  # fmt: skip
    names = ("rating 1-10", "accuracy x 10", "ASR-WER, %")
    return tuple(
        PublishedScore(str(row[0]), "S->S", float(value), PAPER, names[number])
        for row in table
        for number, value in enumerate(row[1:])
        if value is not None and number in ((0, 2) if column == 0 else (1,))
    )


GENERAL_QA = Benchmark(
    name="general_qa",
    summary="GLM-4-Voice's General QA: open questions, rated 1 to 10",
    read_item=read_open_question,
    rules=(SINGLE_ANSWER, SPOKEN_AGREEMENT),
    published=_chat_rows(0),
)
KNOWLEDGE_QA = Benchmark(
    name="knowledge_qa",
    summary="GLM-4-Voice's Knowledge: questions of three sets, judged given references, accuracy x 10",
    read_item=read_known_question,
    rules=(KNOWLEDGE.only(always, scale=10), CONTIGUOUS.only(always, scale=10), SPOKEN_AGREEMENT),
    max_new_tokens=256,
    published=_chat_rows(1),
)
OPEN_AUDIO_BENCH = Benchmark(
    name="open_audio_bench",
    summary="OpenAudioBench: reasoning, Llama, Web and Trivia questions, Alpaca; judged",
    read_item=read_open_audio,
    rules=(
        SCORE_IS_JUDGE.only(lambda item: item.subset == LLAMA),
        KNOWLEDGE.only(lambda item: item.subset in (WEB, TRIVIA)),
        REASONING.only(lambda item: item.subset == REASONING_QA),
        SINGLE_ANSWER.only(lambda item: item.subset == ALPACA, name="alpaca", scale=10),
        CONTIGUOUS.only(lambda item: item.subset in (LLAMA, WEB, TRIVIA)),
        SPOKEN_AGREEMENT,
    ),
    overall=open_audio_mean,
    max_new_tokens=1024,
    notes={"denominator": "items whose judgement is unreadable are left out and counted in the notes."},
)
BIG_BENCH_AUDIO = Benchmark(
    name="big_bench_audio",
    summary="Big Bench Audio: formal fallacies, navigate, object counting, web of lies, spoken",
    read_item=read_big_bench_audio,
    rules=(RESULT_JUDGE, STATED_ANSWER, SPOKEN_AGREEMENT),
    max_new_tokens=1024,
)
