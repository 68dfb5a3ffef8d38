"""Stage chatbot.respond: answers of a chatbot to many spoken questions, for a judge to score.

    python -m chatbot.respond bundle=runs/quickstart/bundle \\
        manifest=runs/quickstart/corpus/heldout_sentence.jsonl out=runs/quickstart/answers

Takes distinct questions, each in one voice, the voices in turn; or, with ``dialogues``, the questions of dialogues,
each dialogue as one conversation, which remembers as many turns as the bundle's settings say. Writes
<out>/answers.jsonl (id, audio, question, heard, said, reply_audio, speaker, seconds, is_cut, tokens_before_speech,
speech_blocks; paths relative to it, seconds of the spoken reply) and <out>/audio/*.wav. Several conversations of one
engine run at once; each answer is the same as alone (batch=1 times it alone). After a kill, finished batches are kept.
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.config import RespondConfig

STAGE = Stage(
    name="chatbot.respond",
    config=RespondConfig,
    implementation="chatbot.answers.answering:respond",
    summary="Answer spoken questions with a chatbot, in speech.",
    inputs=lambda config: [config.bundle, config.manifest, config.dialogues or None],
    example="bundle=runs/quickstart/bundle manifest=runs/quickstart/corpus/heldout_sentence.jsonl "
    "out=runs/quickstart/answers",
)

if __name__ == "__main__":
    STAGE.exit()
