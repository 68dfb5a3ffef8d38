"""Stage lm.vocabulary: the vocabulary of a speech-text LM, made of tokenised speech and texts.

    python -m lm.vocabulary texts=runs/corpus/texts.jsonl tokens=runs/tokens out=runs/vocabulary
    python -m lm.vocabulary num_speech_tokens=1 texts=runs/corpus/texts.jsonl transcripts=runs/corpus/train.jsonl \
        out=runs/vocabulary_of_vectors
    python -m lm.vocabulary num_speech_tokens=1 base=Qwen2.5-7B out=runs/vocabulary_of_vectors

With ``num_speech_tokens=1`` one speech token stands for every position of speech that is read as vectors. The layout of
the ids stands in `lm.data.vocabulary`, what is built in `lm.data.vocabulary_building`.
"""

from __future__ import annotations

from runtime.stage import Stage

from .data.text_files import is_url
from .data.vocabulary_config import VocabularyConfig

STAGE = Stage(
    name="lm.vocabulary",
    config=VocabularyConfig,
    implementation="lm.data.vocabulary_building:write_vocabulary",
    summary="Make the vocabulary of a speech-text LM: text tokens, special tokens, speaker tags, speech tokens.",
    inputs=lambda config: [
        *(config.tokens, config.transcripts),
        *([] if is_url(config.texts) else [config.texts]),
        config.base,
    ],
    example="tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/vocabulary",
)

if __name__ == "__main__":
    STAGE.exit()
