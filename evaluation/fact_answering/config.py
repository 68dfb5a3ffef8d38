"""Options of evaluation.fact_answers."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

QUESTION_SETS = ("questions", "new_questions")


@dataclass(kw_only=True)
class FactAnswersConfig(StageConfig):
    """Options of evaluation.fact_answers.

    Attributes:
        sets: folder ``sets`` of evaluation.fact_set.
        questions: sets that are asked.
        model: output folder of lm.export.
        max_new_tokens: of an answer and of a transcript.
        batch_size: prompts run at once; it changes no answer.
        threads: CPU threads.
    """

    sets: str
    questions: list[str] = option(list(QUESTION_SETS), one_of=QUESTION_SETS)
    model: str
    max_new_tokens: int = option(24, at_least=1)
    batch_size: int = option(64, at_least=1)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.questions), "questions", self.questions, "name at least one")
