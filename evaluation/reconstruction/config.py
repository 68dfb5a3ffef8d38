"""Options of the stages ``evaluation.tokenizer_set`` and ``evaluation.decoder_set``."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from corpus.audio.segments import DURATION_TOLERANCE
from decoder.config import SOLVERS
from evaluation.judges.packages import RESEMBLYZER
from evaluation.speech.config import FRAME_RATE, NORMALISERS, WHISPER
from runtime.config import Options, option
from runtime.errors import check_option
from runtime.stage import StageConfig
from tokenizer.scoring.config import EvaluationNoiseConfig

NO_RECOGNISER, KNOWN_VOICES = "none", "known"


@dataclass(kw_only=True)
class SpeakingConfig(Options):
    """Options of the decoder that speaks, as decoder.resynthesise has them.

    Attributes:
        speaker: the voice to speak all with, a tag of the decoder or the path of a reference clip; null keeps each
            utterance's own, and refuses utterances whose voice the decoder does not know.
        voices: only utterances of these voices; known: those that the decoder knows; none named means all.
        vocoder: model (the decoder's own), griffin_lim, or the run folder of another decoder.train_vocoder.
        steps: of the flow's solver; 0 speaks the regressed mean; null is the decoder's default.
        guidance: classifier-free guidance; null is the decoder's default.
        solver: euler or midpoint; null is the decoder's default.
        batch: utterances decoded at once.
    """

    speaker: str | None = None
    voices: list[str] = field(default_factory=list)
    vocoder: str = "model"
    steps: int | None = option(None, at_least=0)
    guidance: float | None = option(None, at_least=0)
    solver: str | None = option(None, one_of=SOLVERS)
    batch: int = option(16, at_least=1)


@dataclass(kw_only=True)
class SpokenSetConfig(StageConfig):
    """Options of evaluation.tokenizer_set and evaluation.decoder_set.

    Attributes:
        data: a NeMo manifest: JSON lines with audio_filepath, duration, text (and speaker, lang, id, offset).
        limit: number of utterances, the first ones (for a decoder, of the chosen voices); 0 takes all.
        max_bad_share: largest share of bad records; they are left out and counted.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration.
        recogniser: hears recordings and resynthesised speech: the folder of a built-in corpus (its closed-world judge),
            a .nemo file, a folder of transformers' (Whisper), or a URL; null takes the closed-world judge where
            sentences.txt lies next to the manifest; none leaves the word error rates out.
        normaliser: of transcripts and texts before they are compared: whisper (Whisper's English normaliser, which
            published word error rates use) or spoken (lower case, numbers as they are spoken).
        similarity: a speaker encoder, for the similarity of the voices: a decoder of ours that has one, a folder of
            transformers' (WavLM-SV), a .nemo speaker model, or resemblyzer; null leaves it out.
        utmos: a naturalness predictor as TorchScript; null leaves it out.
        dnsmos: rate all speech by DNSMOS, P.835 and P.808 (``pip install 'speechweave[quality]'``).
        distillmos: rate all speech by DistillMOS (``pip install --no-deps distillmos xls-r-sqa``).
        frame_rate: mel frames a second of the vocoder, for the hop modulation.
        sheets: utterances on the listening page.
        speaking: options of the decoder that speaks.
        device: of the tokenizer: cpu or cuda.
        processes: worker processes of the judge and the objective metrics.
        threads: CPU threads.
    """

    data: str
    limit: int = option(0, at_least=0)
    max_bad_share: float = option(0.0, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0)
    recogniser: str | None = None
    normaliser: str = option(WHISPER, one_of=NORMALISERS)
    similarity: str | None = None
    utmos: str | None = None
    dnsmos: bool = False
    distillmos: bool = option(False, is_later=True)
    frame_rate: float = option(FRAME_RATE, above=0, at_most=1000)
    sheets: int = option(6, at_least=0)
    speaking: SpeakingConfig = field(default_factory=SpeakingConfig)
    device: str = "cpu"
    processes: int = option(1, at_least=1)
    threads: int = option(1, at_least=1)

    @property
    def world(self) -> str | None:
        """Folder of the closed world whose judge listens; None where none does."""
        folder = str(Path(self.data).parent) if self.recogniser is None else self.recogniser
        return folder if (Path(folder) / "sentences.txt").is_file() else None

    @property
    def open_recogniser(self) -> str | None:
        """The recogniser of open speech; None where there is none."""
        is_named = self.recogniser is not None and self.recogniser != NO_RECOGNISER and self.world is None
        return self.recogniser if is_named else None

    def check_recogniser(self) -> None:
        """Raise a `UserError` where nobody would listen and that was not asked for; the corpus must be there."""
        is_heard = self.recogniser is not None or self.world is not None
        remedy = (
            f"{Path(self.data).parent} is no closed world (no sentences.txt there): name a recogniser by its path, "
            "e.g. recogniser=whisper-large-v3, or leave word error rates out with recogniser=none"
        )
        check_option(is_heard, "recogniser", self.recogniser, remedy)

    @property
    def shared_inputs(self) -> list[str | None]:
        """The files and folders that are read, URLs left out."""
        recogniser = self.world or self.open_recogniser
        is_local = recogniser is not None and "://" not in recogniser
        encoder = None if self.similarity == RESEMBLYZER else self.similarity
        return [self.data, recogniser if is_local else None, encoder, self.utmos]


HEARING = ("recogniser", "similarity", "utmos", "dnsmos", "distillmos", "frame_rate", "speaking")


@dataclass(kw_only=True)
class TokenizerSetConfig(SpokenSetConfig):
    """Options of evaluation.tokenizer_set; those of speaking.* and noise.* are listed below with their defaults.

    Attributes:
        tokenizer: artefact folder of tokenizer.train.
        decoder: run folder of decoder.train, trained on its tokens, which makes speech of them again; null: no speech
            is made, and nothing listens.
        noise: token stability under noise (unit edit distance); ``noise.snrs=[]`` skips it.
    """

    tokenizer: str
    decoder: str | None = None
    noise: EvaluationNoiseConfig = field(default_factory=EvaluationNoiseConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder is not None:
            return
        for one in fields(self):
            if one.name in HEARING:
                default = one.default_factory() if one.default_factory is not MISSING else one.default
                value = getattr(self, one.name)
                remedy = "give decoder=<run folder>: without it no speech is made, and there is nothing to hear"
                check_option(value == default, one.name, value, remedy)

    @property
    def local_inputs(self) -> list[str | None]:
        """The files and folders that are read, URLs left out."""
        return [self.tokenizer, self.decoder, *self.shared_inputs]


@dataclass(kw_only=True)
class DecoderSetConfig(SpokenSetConfig):
    """Options of evaluation.decoder_set; those of speaking.* are listed below with their defaults.

    Attributes:
        decoder: run folder of decoder.train, or its artefact.
        tokenizer: artefact folder of the tokenizer whose tokens it was trained on; give this or ``tokens``.
        tokens: a Parquet file of tokenizer.encode, or a folder of them, with the utterances of ``data`` by their ids.
    """

    decoder: str
    tokenizer: str | None = None
    tokens: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = (self.tokenizer is None) != (self.tokens is None)
        check_option(is_one, "tokenizer", self.tokenizer, "give either tokenizer=<artefact> or tokens=<Parquet>")

    @property
    def local_inputs(self) -> list[str | None]:
        """The files and folders that are read, URLs left out."""
        return [self.decoder, self.tokenizer, self.tokens, *self.shared_inputs]
