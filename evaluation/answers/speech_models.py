"""Speech language models that answer in this process: base models by worked examples, and models that hear vectors."""

from __future__ import annotations

from evaluation.benchmarks.benchmark import Benchmark
from runtime.errors import UserError
from runtime.stage import Run

from .answering_models import AnsweringModel
from .base_speech_model import BaseSpeechModel
from .config import AnswerConfig
from .listening_answers import ListeningAnswers


def open_speech_model(config: AnswerConfig, benchmark: Benchmark, run: Run) -> AnsweringModel:
    """The model of ``config.model``: with ``prompt=`` a base model, else one that hears.

    Raises:
        UserError: a way of answering that the benchmark does not allow.
    """
    if not config.prompt:
        return ListeningAnswers(config)
    if config.answer_by == "likelihood" and not benchmark.choices:
        remedy = f"choose generation: {benchmark.name} has no written options"
        raise UserError("option answer_by", found="likelihood", remedy=remedy)
    return BaseSpeechModel(config, run, benchmark.choices)
