"""The built-in voices and the speech tokenizer as a backend: a synthesiser makes a waveform, which is then encoded.

The way that a text-to-token model replaces (2411.17607, section 2.2), for comparison: the same words by the same
speaker as real tokens. Two rows of a batch are independent; a row's pace and pitch follow from its seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt

from corpus.world.synthesis import Prompt, render
from corpus.world.voices import read_voices
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from text2token.speech_generation import SpeechGenerationConfig, SpeechSampling
from tokenizer.model import SpeechTokenizer

UNBOUNDED = 1 << 20  # tokens: a synthesiser has no context


class VoiceBackend:
    """A `text2token.speech_generation.SpeechBackend`.

    Args:
        config: the options; ``voice_corpus`` and ``voice_tokenizer`` are read.
        device: a torch device, of the speech tokenizer.
        vocabulary: of the prompts and of the result.

    Attributes:
        max_length: most tokens of a prompt and its continuation together.

    Raises:
        UserError: another tokenizer than the vocabulary's, or a speaker that is no voice.
    """

    max_length = UNBOUNDED

    def __init__(self, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> None:
        corpus, folder = (str(getattr(config, name)) for name in ("voice_corpus", "voice_tokenizer"))
        self.vocabulary = vocabulary
        self.tokenizer = SpeechTokenizer.from_pretrained(folder).to(device)
        vocabulary.check_speech_tokenizer(self.tokenizer.fingerprint, folder)
        self.voices = {voice.name: voice for voice in read_voices(corpus).voices}
        self.speakers = {number: name for name, number in vocabulary.speakers.items()}
        unknown = sorted(set(self.speakers.values()) - self.voices.keys())
        if unknown:
            found = f"no voice for the speaker {unknown[0]!r} of the vocabulary"
            raise UserError(str(Path(corpus) / "voices.json"), found=found, remedy="give the corpus of the vocabulary")

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        **sampling: Unpack[SpeechSampling],
    ) -> list[npt.NDArray[np.int32]]:
        """The speech ids of each prompt's text and a stop id, cut at its limit; temperature and top_p have no part."""
        sounds = []
        for prompt, seed in zip(prompts, sampling["seeds"], strict=True):
            speaker = next(self.speakers[int(id)] for id in prompt if int(id) in self.speakers)
            text = self.vocabulary.decode_text(prompt)
            sounds.append(render(Prompt(str(seed), text, self.voices[speaker], Path()), seed))
        end = self.vocabulary.special(SpecialToken.END_OF_AUDIO)
        rows = [np.append(self.vocabulary.speech_ids(codes), end) for codes in self.tokenizer.encode(sounds)]
        return [row[:limit].astype(np.int32) for row, limit in zip(rows, sampling["max_new_tokens"], strict=True)]
