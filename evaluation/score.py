"""Stage ``evaluation.score``: scores of a model's answers to a set; no model and no network is needed.

    python -m evaluation.score benchmark=trivia_qa data=sets/trivia_qa answers=runs/trivia/answers \\
        out=runs/trivia/scores

Each rule of the benchmark is applied to the written reply and to the transcript of the spoken one. Every score has a
stamp: set and digest, model, direction, rule, its version and compat mode, normaliser, judge and prompt digest,
recogniser, seed, batch size, and the numbers of failures, of items left out and of notes, zeros included. The same
answers give the same bytes.

Writes <out>/scores.json, scores.md (the table) and items.jsonl (each item's score by each rule).
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.config import ScoreConfig

STAGE = Stage(
    name="evaluation.score",
    config=ScoreConfig,
    implementation="evaluation.scores.scoring:score_answers",
    summary="Score the answers of a model to an evaluation set: every rule, every mean, with a stamp.",
    inputs=lambda config: [config.data, config.answers, config.judgements],
    example="benchmark=trivia_qa data=sets/trivia_qa answers=runs/trivia/answers out=runs/trivia/scores",
)

if __name__ == "__main__":
    STAGE.exit()
