"""Stage ``evaluation.answer``: answers of a model to an evaluation set, raw, for any rule to score.

    python -m evaluation.answer benchmark=trivia_qa data=sets/trivia_qa direction=s2s model=runs/quickstart/bundle \\
        recogniser=runs/quickstart/corpus out=runs/trivia/answers
    python -m evaluation.answer benchmark=trivia_qa data=sets/trivia_qa direction=t2t model=http://localhost:8000/v1 \\
        served_model=my-model out=runs/trivia/answers
    python -m evaluation.answer benchmark=trivia_qa data=sets/trivia_qa direction=s2t model=runs/lm prompt=qa shots=5 \\
        shots_data=sets/trivia_qa_train vocabulary=runs/vocabulary/vocabulary tokenizer=runs/tokenizer/artefact out=...

The model is an OpenAI-compatible URL, a chatbot's bundle (served on this machine while it is asked), or a text model's
folder of transformers; with ``cascade=`` a recogniser transcribes spoken questions for it. With ``prompt=`` it is a
base speech language model, which sees worked examples in the media of the direction
(`evaluation.answers.base_prompt`).
Writes <out>/answers.jsonl (text, speech, transcript, failure), answers.json (all that a score's stamp needs) and
audio/. Answers are kept one by one: after a kill only what is missing is asked. A prompt that stays without an answer
is a failure with its reason, never an empty success.
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.config import AnswerConfig

STAGE = Stage(
    name="evaluation.answer",
    config=AnswerConfig,
    implementation="evaluation.answers.answering:answer_set",
    summary="Let a model answer an evaluation set; raw answers are kept for any rule to score.",
    inputs=lambda config: config.local_inputs,
    example="benchmark=trivia_qa data=sets/trivia_qa direction=s2s model=runs/quickstart/bundle "
    "recogniser=runs/quickstart/corpus out=runs/trivia/answers",
    speed_options=("requests", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
