"""Stage corpus.accounts: spoken requests for an account of a situation, and replies of about thirty words.

    python -m corpus.accounts corpus=runs/quickstart/corpus out=runs/accounts

The requests tell a situation, the replies tell it again in four or five sentences (`corpus.world.accounts`), all in the
closed world's words. They are long enough for replies of alternating text and speech, and can be judged word by word.
No training data, neither of the corpus nor of the accounts, states a held-out situation.

Writes into ``out`` what chatbot.prepare, chatbot.respond and the judge read of a corpus: ``train.jsonl`` and
``heldout_sentence.jsonl`` (requests of kind question in the seen voices, replies of kind reply in the answer voice)
with ``audio/``, ``questions.jsonl``, ``sentences.txt`` and ``voices.json``.
"""

from __future__ import annotations

from runtime.stage import Stage

from .world.account_config import AccountCorpusConfig

STAGE = Stage(
    name="corpus.accounts",
    config=AccountCorpusConfig,
    implementation="corpus.world.account_corpus:build_account_corpus",
    summary="Make spoken requests for accounts of situations, with long replies.",
    inputs=lambda config: [config.corpus],
    example="corpus=runs/quickstart/corpus out=runs/accounts",
    speed_options=("workers",),
)

if __name__ == "__main__":
    STAGE.exit()
