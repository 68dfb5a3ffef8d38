"""Stage chatbot.prepare: the fine-tuning corpus of a spoken chatbot, of spoken questions, of dialogues, or of both.

    python -m chatbot.prepare corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens \\
        vocabulary=runs/quickstart/vocabulary/vocabulary out=runs/quickstart/chat_data
    python -m chatbot.prepare speech=vectors vectors.encoder=runs/tokenizer/artefact transcribe_first=false \\
        dialogues=sharegpt_with_sound.jsonl vocabulary=runs/vocabulary_of_vectors out=runs/chat_of_vectors

Every spoken version of a built-in training question (many voices) is one dialogue of one turn (Q_s, Q_t, A_t, A_s), as
in 2411.17607 and GLM-4-Voice (section 4.2): the question's speech, its words, the reply's words, and the reply spoken
in the answer voice. With ``multi_turn`` these turns, and follow-up questions, are put together to dialogues. Held-out
questions, whose words occur in no training data, are the validation split. Files of dialogues (`chatbot.dialogues`
makes them) may have many turns.

With ``speech=vectors`` questions are recordings that an encoder hears in training, and replies are text: the corpus's
own questions, or dialogues of others (NeMo's conversations, ShareGPT with sound, messages with audios), whose questions
may have several recordings and texts between them.

Writes <out>/chat/, an LM corpus of format chat that lm.train takes; its ``losses`` learn from the two parts of each
sample (GLM-4-Voice) instead of from all at once.
"""

from __future__ import annotations

from runtime.stage import Stage

from .data.prepare_config import ChatPrepareConfig

STAGE = Stage(
    name="chatbot.prepare",
    config=ChatPrepareConfig,
    implementation="chatbot.data.fine_tuning_corpus:prepare",
    summary="Spoken questions, dialogues -> the LM corpus that fine-tunes a spoken chatbot.",
    inputs=lambda config: [
        config.vocabulary,
        *filter(None, (config.corpus, config.tokens, *config.takes, config.dialogues, config.dialogues_heldout)),
        *config.vectors.inputs,
    ],
    speed_options=("processes", "bulk"),
    example="corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens "
    "vocabulary=runs/quickstart/vocabulary out=runs/quickstart/chat_data",
)

if __name__ == "__main__":
    STAGE.exit()
