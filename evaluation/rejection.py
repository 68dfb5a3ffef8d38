"""Stage ``evaluation.rejection``: sounds in which nobody speaks, and questions outside what a chatbot knows.

    python -m evaluation.rejection bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/rejection
    python -m evaluation.rejection url=http://127.0.0.1:8000/v1 corpus=runs/quickstart/corpus out=runs/rejection

Asks a served chatbot, in text, and counts four things: of 100 synthetic sounds without speech those that are answered;
of soft, noisy and very short speech what is not heard; of 60 held-out questions of the world, spoken and typed, those
that are lost (not heard, or answered by "I did not understand you"); of 40 questions outside the world (other topics,
gibberish, emoji, other languages) those that are caught by the same sentence.

Writes <out>/rejection.md (by group) and replies.jsonl. Replies are kept one by one: after a kill only what is missing
is asked.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .unanswerable.config import RejectionConfig

STAGE = Stage(
    name="evaluation.rejection",
    config=RejectionConfig,
    implementation="evaluation.unanswerable.rejection:measure_rejection",
    summary="Count answers to sounds without speech and to questions that the model cannot know, and the price.",
    inputs=lambda config: [config.corpus, config.manifest, config.bundle, config.outside],
    example="bundle=runs/quickstart/bundle corpus=runs/quickstart/corpus out=runs/rejection",
    speed_options=("requests", "threads"),
    headlines=(
        Headline("false_answers", "sounds without speech that were answered"),
        Headline("missed_speech", "soft, noisy or very short speech that was not heard"),
        Headline("lost_spoken", "spoken questions of the world taken for not understood"),
        Headline("caught_outside", "questions outside the world taken for not understood"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
