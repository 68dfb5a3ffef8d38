"""Independent judge of speech: a recogniser of a closed world, trained on no output of our models.

pocketsphinx with its own English acoustic model and a trigram language model of the closed world's sentences. On
untouched synthetic speech its word error rate is about 1 %, so that its word error rate on our models' speech measures
that speech. It transcribes sentences of the closed world only.

    judge = Judge(sentences)
    judge.transcribe(audio)          # 16 kHz, (S,) float32 -> "the capital of france is paris"

Transcripts do not depend on the order or number of the utterances.

S samples.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples, read_audio
from corpus.text.normalisation import normalise
from runtime.errors import UserError

from .dictionary import pronunciations
from .ngram import TrigramModel

# The acoustic model was trained on recorded speech: it fails on digital silence (espeak-ng: WER 35 % without these
# three, 1 % with them; flite's recorded voices lose less than a point).
LEVEL = 0.08  # root mean square of the speech, full scale 1
NOISE = 0.0015  # standard deviation of the white noise added: 35 dB below the speech
PADDING = 0.2  # seconds of (noisy) silence before and after
NOISE_SEED = 1
MIN_SECONDS = 0.05  # shorter ones have less than two analysis windows


class Judge:
    """A closed-world recogniser.

    Args:
        sentences: all sentences of the closed world, normalised to lower-case words; they train the language model.

    Raises:
        UserError: a word of theirs has no pronunciation in the CMU dictionary.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = sorted({text for sentence in sentences if (text := normalise(sentence))})
        self._known = frozenset(self.sentences)
        self.model = TrigramModel(self.sentences)
        self.dictionary = pronunciations(self.model.words)

    def __reduce__(self) -> tuple[type[Judge], tuple[list[str]]]:
        """Pickle without the recogniser."""
        return Judge, (self.sentences,)

    @functools.cached_property
    def decoder(self) -> Any:
        """The recogniser itself, loaded at the first use."""
        import pocketsphinx

        with tempfile.TemporaryDirectory(prefix="judge-") as folder:
            model, dictionary = Path(folder, "world.arpa"), Path(folder, "world.dict")
            model.write_text(self.model.arpa(), encoding="utf-8")
            dictionary.write_text(self.dictionary, encoding="utf-8")
            return pocketsphinx.Decoder(
                hmm=pocketsphinx.get_model_path("en-us/en-us"),
                lm=str(model),
                dict=str(dictionary),
                cmn="batch",
                loglevel="FATAL",
            )

    def knows(self, text: str) -> bool:
        """Whether ``text`` is one of the sentences."""
        return normalise(text) in self._known

    def transcribe(self, audio: Samples) -> str:
        """The transcript of ``audio`` (S,) float32 at 16 kHz; "" where nothing is recognised."""
        if len(audio) < MIN_SECONDS * SAMPLE_RATE:
            return ""
        decoder = self.decoder
        decoder.reinit_feat()  # forget the noise level of the utterance before
        decoder.start_utt()
        decoder.process_raw(to_pcm(audio), no_search=False, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return str(hypothesis.hypstr) if hypothesis else ""

    def transcribe_file(self, path: Path | str) -> str:
        """The transcript of an audio file."""
        return self.transcribe(read_audio(path))


def load_judge(corpus: Path | str) -> Judge:
    """The judge of a corpus's closed world."""
    file = Path(corpus) / "sentences.txt"
    if not file.is_file():
        remedy = "give the output folder of corpus.build: the judge needs all sentences of the closed world"
        raise UserError(str(file), found="no such file", remedy=remedy)
    return Judge(file.read_text(encoding="utf-8").splitlines())


def to_pcm(audio: Samples) -> bytes:
    """(S,) float32 as 16-bit samples at the judge's level, with silence around it and a little fixed noise."""
    sound = np.nan_to_num(np.asarray(audio, dtype=np.float64))
    level = float(np.sqrt(np.mean(sound**2)))
    sound = np.pad(sound * (LEVEL / max(level, 1e-5)), int(PADDING * SAMPLE_RATE))
    sound += np.random.default_rng(NOISE_SEED).normal(0.0, NOISE, len(sound))
    return (np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes()
