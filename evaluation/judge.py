"""Stage ``evaluation.judge``: an LLM judges the answers of a model to a set; its raw replies are kept.

    python -m evaluation.judge benchmark=trivia_qa data=sets/trivia_qa answers=runs/trivia/answers \\
        url=https://api.openai.com/v1 model=gpt-4o-mini out=runs/trivia/judgements

Any OpenAI-compatible endpoint; its key is taken from the environment (``requests.key_variable``). Each reply is kept in
<out>/judgements.jsonl as it comes: after a kill only what is missing is requested again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.config import JudgeConfig

STAGE = Stage(
    name="evaluation.judge",
    config=JudgeConfig,
    implementation="evaluation.answers.judging:judge",
    summary="Let an LLM judge the answers of a model to an evaluation set; raw replies are kept.",
    inputs=lambda config: [config.data, config.answers],
    example="benchmark=trivia_qa data=sets/trivia_qa answers=runs/trivia/answers url=http://localhost:8000/v1 "
    "model=judge out=runs/trivia/judgements",
    speed_options=("requests",),
)

if __name__ == "__main__":
    STAGE.exit()
