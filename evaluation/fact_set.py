"""Stage ``evaluation.fact_set``: choices about made-up facts, in text and in speech tokens, for base models.

    python -m evaluation.fact_set facts=runs/facts tokenizer=runs/quickstart/tokenizer/artefact out=runs/fact_set
    python -m evaluation.base data=runs/fact_set/sets 'directions=[t2t,s2t,t2s,s2s]' model=... out=...

The subsets of the scores are the sets below by the groups of `corpus.facts` (``questions.interleaved``): facts that
speech tells, facts of texts that may be interleaved, and facts of texts that never are. Chance is 50 %, the intervals
are over entities.

Writes <out>/sets/questions.jsonl, new_questions.jsonl (asked in words that no training data uses), beginnings.jsonl (a
statement's last word) and statements.jsonl (true and false ones, without a context).
"""

from __future__ import annotations

from runtime.stage import Stage

from .likelihood.fact_config import FactSetConfig

STAGE = Stage(
    name="evaluation.fact_set",
    config=FactSetConfig,
    implementation="evaluation.likelihood.fact_choices:make_fact_sets",
    summary="Make choices about made-up facts, in text and in speech tokens.",
    inputs=lambda config: [config.facts, config.tokenizer],
    example="facts=runs/facts tokenizer=runs/quickstart/tokenizer/artefact out=runs/fact_set",
    speed_options=("threads",),
)

if __name__ == "__main__":
    STAGE.exit()
