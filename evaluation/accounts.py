"""Stage ``evaluation.accounts``: a chatbot's long replies, judged slot by slot in text and by ear.

    python -m evaluation.accounts accounts=runs/accounts answers=runs/account_answers out=runs/account_scores

Of each reply to a held-out request of `corpus.accounts`: the share of the right reply's persons, colours, things and
places that it tells in their order (``slots``) and whether it tells all of them and no other (``whole``), in its text
and in the transcript of its speech by the closed-world judge; the word errors of that transcript against the text, and
of what the model heard; its tokens before the first speech token, and its stretches of speech tokens (of streaming
replies, more than one). ``floor_wer`` is the judge's on recordings of the right replies.

Writes <out>/details.jsonl, one line a reply, and scores.json: each mean with its 95 % interval, over replies.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .question_answering.account_config import AccountsConfig

STAGE = Stage(
    name="evaluation.accounts",
    config=AccountsConfig,
    implementation="evaluation.question_answering.account_scoring:judge_accounts",
    summary="Judge a chatbot's long replies slot by slot, in text and by ear.",
    inputs=lambda config: [config.accounts, config.answers],
    example="accounts=runs/accounts answers=runs/account_answers out=runs/account_scores",
    speed_options=("processes",),
    headlines=(
        Headline("text_slots", "slots of long replies right in text"),
        Headline("speech_slots", "slots of long replies right by the judge"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
