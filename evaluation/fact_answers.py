"""Stage ``evaluation.fact_answers``: questions about made-up facts, answered by a base model's greedy generation.

    python -m evaluation.fact_answers sets=runs/fact_set/sets model=runs/facts_lm_model out=runs/fact_answers

With the answers stands what the model hears (its own transcript of each spoken question), and what it answers to that
transcript: a cascade. So a model that does not hear differs from one that does not know. The ways stand in
`evaluation.fact_answering.ways`.

Writes <out>/answers.jsonl (question, transcript and every reply) and items.jsonl (their measures).
"""

from __future__ import annotations

from runtime.stage import Stage

from .fact_answering.config import FactAnswersConfig

STAGE = Stage(
    name="evaluation.fact_answers",
    config=FactAnswersConfig,
    implementation="evaluation.fact_answering.answers:answer_fact_questions",
    summary="Ask a base model about made-up facts in text and speech, with what it hears and a cascade.",
    inputs=lambda config: [config.sets, config.model],
    example="sets=runs/fact_set/sets model=runs/facts_lm_model out=runs/fact_answers",
    speed_options=("batch_size", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
