"""Options of evaluation.question_set."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class QuestionSetConfig(StageConfig):
    """Options of evaluation.question_set.

    Attributes:
        corpus: output folder of corpus.build (questions.jsonl with the answer keys).
        manifest: spoken questions; null takes the corpus's heldout_sentence.jsonl.
        kind: only utterances of this kind; empty takes all.
        limit: number of distinct questions; 0 takes all.
        replies: write the reply of each question too, in words (answer_text) and in the corpus's speech (answer_audio):
            what the worked examples of a base model show. Questions whose reply nobody has spoken are left out.
    """

    corpus: str
    manifest: str | None = None
    kind: str = "question"
    limit: int = option(0, at_least=0)
    replies: bool = option(False, is_later=True)
