"""Stage ``evaluation.run``: resynthesised speech and spoken answers, judged by an independent recogniser.

    python -m evaluation.run corpus=runs/quickstart/corpus resynthesis=runs/quickstart/resynthesis \\
        answers=runs/quickstart/answers out=runs/quickstart/evaluation

Protocol (after 2411.17607, evaluation of the chatbot, with a closed-world recogniser in the place of Whisper and exact
answer keys in the place of GPT-4): an answer is right if it ends in the question's answer key; of a spoken answer the
judge's transcript is scored; the word error rate between that transcript and the written reply measures their
agreement. The judge's word error rate on untouched audio is its floor.

Writes <out>/details.jsonl: one JSON object for each utterance and answer, failures included (``part``: floor,
resynthesis, griffin_lim, answer or dialogue).
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .speech.config import EvaluationConfig

STAGE = Stage(
    name="evaluation.run",
    config=EvaluationConfig,
    implementation="evaluation.speech.judged_speech:judge_speech",
    summary="Judge resynthesised speech and spoken answers with an independent recogniser.",
    inputs=lambda config: [
        config.corpus,
        config.resynthesis,
        config.resynthesis_fallback,
        config.answers,
        config.dialogue_answers,
    ],
    example="corpus=runs/quickstart/corpus resynthesis=runs/quickstart/resynthesis "
    "answers=runs/quickstart/answers out=runs/quickstart/evaluation",
    speed_options=("processes",),
    headlines=(
        Headline("decoder.judge_wer", "judge's WER of resynthesised speech"),
        Headline("judge.floor_wer", "the same judge on the untouched audio"),
        Headline("chat.speech_to_text_accuracy", "spoken questions answered right in text"),
        Headline("chat.speech_to_speech_accuracy", "spoken answers right by the judge"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
