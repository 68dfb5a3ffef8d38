"""Stage ``evaluation.question_set``: the held-out spoken questions of a built-in corpus as an evaluation set.

    python -m evaluation.question_set corpus=runs/quickstart/corpus out=runs/quickstart/question_set
    python -m evaluation.answer benchmark=world_questions data=runs/quickstart/question_set/questions.jsonl ...

The laptop twin of spoken Web Questions: distinct questions, each in one voice, the voices in turn. Writes
<out>/questions.jsonl: id, question, answers, audio (relative), topic, one row a question.
"""

from __future__ import annotations

from runtime.stage import Stage

from .question_answering.question_set_config import QuestionSetConfig

STAGE = Stage(
    name="evaluation.question_set",
    config=QuestionSetConfig,
    implementation="evaluation.question_answering.question_set:write_question_set",
    summary="Write the held-out spoken questions of a built-in corpus as an evaluation set.",
    inputs=lambda config: [config.corpus, config.manifest],
    example="corpus=runs/quickstart/corpus out=runs/quickstart/question_set",
)

if __name__ == "__main__":
    STAGE.exit()
