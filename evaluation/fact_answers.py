"""Stage ``evaluation.fact_answers``: questions about made-up facts, answered by a base model's greedy generation.

    python -m evaluation.fact_answers sets=runs/fact_set/sets model=runs/facts_lm_model out=runs/fact_answers

With the answers stands what the model hears (its own transcript of each spoken question), and what it answers to that
transcript: a cascade. So a model that does not hear differs from one that does not know. The ways stand in
`evaluation.fact_answering.ways`.

Writes <out>/answers.jsonl (question, transcript and every reply) and items.jsonl (their measures).
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .fact_answering.config import FactAnswersConfig


def run(config: FactAnswersConfig, run: Run) -> dict[str, Any]:
    """Ask every question in every way; returns the shares of right answers and the word error rates."""
    from .fact_answering.answers import answer_fact_questions

    return answer_fact_questions(config, run)


STAGE = Stage(
    name="evaluation.fact_answers",
    config=FactAnswersConfig,
    run=run,
    summary="Ask a base model about made-up facts in text and speech, with what it hears and a cascade.",
    inputs=lambda config: [config.sets, config.model],
    example="sets=runs/fact_set/sets model=runs/facts_lm_model out=runs/fact_answers",
    speed_options=("batch_size", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
