"""Stage lm.vocabulary: the vocabulary of a speech-text LM, made of tokenised speech and texts.

    python -m lm.vocabulary texts=runs/corpus/texts.jsonl tokens=runs/tokens out=runs/vocabulary
    python -m lm.vocabulary num_speech_tokens=1 texts=runs/corpus/texts.jsonl transcripts=runs/corpus/train.jsonl \
        out=runs/vocabulary_of_vectors
    python -m lm.vocabulary num_speech_tokens=1 base=Qwen2.5-7B out=runs/vocabulary_of_vectors

With ``num_speech_tokens=1`` one speech token stands for every position of speech that is read as vectors. The layout of
the ids stands in `lm.data.vocabulary`, what is built in `lm.data.vocabulary_building`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.config import option
from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig


@dataclass(kw_only=True)
class VocabularyConfig(StageConfig):
    """Options of lm.vocabulary.

    Attributes:
        tokens: output folder of tokenizer.encode: its train split gives codebook size, speakers and transcripts; not
            for speech that is read as vectors.
        num_speech_tokens: 1 where speech is read as vectors, of any encoder; 0: as many as the tokenizer has codes.
        transcripts: NeMo manifest whose transcripts take part in the training of the text half ("" = none), where
            speech is read as vectors.
        texts: JSON lines {"id", "text"} to train the text half on, besides the transcripts ("" = transcripts only).
        base: folder (or tokenizer.json) of a Hugging Face tokenizer to grow instead of training a text half; its chat
            template is kept.
        eos: token that ends a document ("" = the base tokenizer's, or <|endoftext|> without a base).
        num_text_tokens: most tokens of a trained text half; the bytes alone take 256.
        num_speakers: number of speaker tags; the most frequent speakers get them (0 = one for each speaker).
        max_bad_share: share of bad lines in texts that is tolerated.
    """

    tokens: str = ""
    num_speech_tokens: int = option(0, at_least=0, at_most=1, is_later=True)
    transcripts: str = option("", is_later=True)
    texts: str = ""
    base: str = ""
    eos: str = ""
    num_text_tokens: int = option(2048, at_least=256)
    num_speakers: int = option(0, at_least=0)
    max_bad_share: float = option(0.01, at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        of_vectors = self.num_speech_tokens == 1
        needed = "give what tokenizer.encode wrote, or num_speech_tokens=1 for speech that is read as vectors"
        check_option(bool(self.tokens) != of_vectors, "tokens", self.tokens, needed)
        check_option(of_vectors or not self.transcripts, "transcripts", self.transcripts, "tokens have their own")
        has_text = not of_vectors or bool(self.texts or self.transcripts or self.base)
        check_option(has_text, "texts", self.texts, "give texts, transcripts or base")
        no_tags = "speech read as vectors has no speaker tags"
        check_option(not (of_vectors and self.num_speakers), "num_speakers", self.num_speakers, no_tags)


def run(config: VocabularyConfig, run: Run) -> dict[str, Any]:
    """Build the vocabulary into ``<out>/vocabulary``."""
    from .data.vocabulary_building import write_vocabulary

    return write_vocabulary(
        run.folder / "vocabulary",
        tokens=config.tokens,
        transcripts=config.transcripts,
        texts=config.texts,
        base=config.base,
        eos=config.eos,
        num_text_tokens=config.num_text_tokens,
        num_speakers=config.num_speakers,
        max_bad_share=config.max_bad_share,
    )


STAGE = Stage(
    name="lm.vocabulary",
    config=VocabularyConfig,
    run=run,
    summary="Make the vocabulary of a speech-text LM: text tokens, special tokens, speaker tags, speech tokens.",
    inputs=lambda config: [config.tokens, config.transcripts, config.texts, config.base],
    example="tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/vocabulary",
)

if __name__ == "__main__":
    STAGE.exit()
