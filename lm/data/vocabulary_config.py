"""Options of lm.vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class VocabularyConfig(StageConfig):
    """Options of lm.vocabulary.

    Attributes:
        tokens: output folder of tokenizer.encode: its train split gives codebook size, speakers and transcripts; not
            for speech that is read as vectors.
        num_speech_tokens: 1 where speech is read as vectors, of any encoder; 0: as many as the tokenizer has codes.
        transcripts: NeMo manifest whose transcripts take part in the training of the text half ("" = none), where
            speech is read as vectors.
        texts: to train the text half on, besides the transcripts, as lm.prepare reads them ("" = transcripts only).
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
