"""Stage ``evaluation.chat_set``: a chatbot on a benchmark's set in text and in speech (T->T, T->S, S->T, S->S).

    python -m evaluation.chat_set benchmark=world_questions data=runs/quickstart/question_set/questions.jsonl \\
        model=runs/quickstart/bundle recogniser=runs/quickstart/corpus out=runs/chat_set
    python -m evaluation.chat_set benchmark=voice_bench data=sets/voicebench model=http://host:8000/v1 \\
        recogniser=models/whisper-large-v3 judge_url=https://api.openai.com/v1 judge_model=gpt-4o-mini out=runs/vb

Each item is asked in text and in speech; the written reply and the recogniser's transcript of the spoken one are both
scored by every rule. It is evaluation.answer, evaluation.judge and evaluation.score in one go, whose files lie in
typed/ and spoken/: answers are kept raw, and `evaluation.score` scores them again without the model.

Writes <out>/scores.md (one table, with 95 % intervals); the stamps of the scores stand in typed/scores/scores.json and
spoken/scores/scores.json.
"""

from __future__ import annotations

from runtime.stage import Stage

from .scores.chat_config import ChatSetConfig

STAGE = Stage(
    name="evaluation.chat_set",
    config=ChatSetConfig,
    implementation="evaluation.scores.chat_set:evaluate_chat_set",
    summary="Score a chatbot on a benchmark's set in T->T, T->S, S->T and S->S: answers, judgements, one table.",
    inputs=lambda config: config.local_inputs,
    example="benchmark=world_questions data=runs/quickstart/question_set/questions.jsonl "
    "model=runs/quickstart/bundle recogniser=runs/quickstart/corpus out=runs/chat_set",
    speed_options=("threads", "requests"),
)

if __name__ == "__main__":
    STAGE.exit()
