"""Stage ``evaluation.chat``: a served chatbot under load: right answers, latency, gaps, interruptions.

    python -m evaluation.chat bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/chat_evaluation
    python -m evaluation.chat url=http://127.0.0.1:8000 corpus=runs/quickstart/corpus out=runs/chat_evaluation

Protocol (after 2411.17607 and GLM-4-Voice, evaluation of the chatbot): held-out spoken questions; S->T is the share of
written replies that end in the answer key, S->S that of the spoken ones by the transcript of the independent judge,
ASR-WER the word error rate between that transcript and the written reply. For each number of concurrent clients also
the distribution of the time from the end of speech to the first audio, gaps in the playback, and the time until an
interrupted reply is silent. All of it over ``/v1/realtime``, at the pace of speech.

Writes <out>/chat.md (the table), latency.png, answers.jsonl (one line a question and condition), details.jsonl (with
the judge's transcripts), interruptions.jsonl and audio/. Finished conditions are kept after a kill.
"""

from __future__ import annotations

from runtime.stage import Stage

from .served_chat.config import ChatEvaluationConfig

STAGE = Stage(
    name="evaluation.chat",
    config=ChatEvaluationConfig,
    implementation="evaluation.served_chat.chat_evaluation:evaluate_chat",
    summary="Load-test a served chatbot with spoken questions: right answers, latency, gaps, interruptions.",
    inputs=lambda config: [config.corpus, config.manifest, config.bundle],
    example="bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/chat_evaluation",
    speed_options=("processes",),
)

if __name__ == "__main__":
    STAGE.exit()
