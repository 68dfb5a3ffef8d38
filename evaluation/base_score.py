"""Stage ``evaluation.base_score``: accuracies out of a base model's log-likelihoods; no model and no data is needed.

    python -m evaluation.base_score likelihoods=runs/story_cloze/base out=runs/story_cloze/scores

Rules: ``sequence`` (slamkit's: mean per token over context and continuation), ``continuation`` (mean over the
continuation), ``continuation_sum``; ties are shared. Every score has the stamp of `evaluation.score`. The same
likelihoods give the same bytes.

Writes <out>/scores.json, scores.md (the table, published rows below ours) and items.jsonl.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .likelihood.config import BaseScoreConfig

STAGE = Stage(
    name="evaluation.base_score",
    config=BaseScoreConfig,
    implementation="evaluation.likelihood.choice_scoring:score_likelihoods",
    summary="Score a base model's likelihoods by every rule, with stamps.",
    inputs=lambda config: [config.likelihoods],
    example="likelihoods=runs/base out=runs/base_scores",
    headlines=(Headline("s2s.sequence.accuracy", "right spoken endings preferred by the base LM (chance 50 %)"),),
)

if __name__ == "__main__":
    STAGE.exit()
