"""Options of the stages ``evaluation.run``, ``evaluation.quality`` and ``evaluation.quality_score``."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.audio.files import SAMPLE_RATE
from corpus.audio.frame_rate import SAMPLES_PER_FRAME
from evaluation.judges.packages import RESEMBLYZER
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

RECORDINGS = "recordings"  # the row of the recordings themselves
SPOKEN, WHISPER = NORMALISERS = ("spoken", "whisper")
FRAME_RATE = SAMPLE_RATE / SAMPLES_PER_FRAME
COPY_SYNTHESIS = "copy_synthesis"  # that of the recordings through mel and vocoder alone


@dataclass(kw_only=True)
class EvaluationConfig(StageConfig):
    """Options of evaluation.run.

    Attributes:
        out: run folder; details.jsonl is written there.
        seed: unused: the judge is deterministic.
        corpus: output folder of corpus.build (recordings, questions.jsonl, sentences.txt).
        resynthesis: output folder of decoder.resynthesise.
        resynthesis_fallback: another one of the same tokens, made with vocoder=griffin_lim; null leaves it out.
        answers: output folder of chatbot.respond; null leaves the chatbot out.
        dialogue_answers: another one, that asked the corpus's held-out dialogues; null leaves them out.
        processes: the judge's processes.
    """

    corpus: str
    resynthesis: str
    resynthesis_fallback: str | None = None
    answers: str | None = None
    dialogue_answers: str | None = None
    processes: int = option(2, at_least=1)


@dataclass(kw_only=True)
class QualityConfig(StageConfig):
    """Options of evaluation.quality.

    Attributes:
        out: run folder; quality.md, details.jsonl and listening.html are written there.
        seed: unused: nothing is drawn (the intervals have seeds of their own).
        corpus: output folder of corpus.build.
        resynthesis: name of a row -> output folder of decoder.resynthesise, as ``resynthesis.<name>=<folder>``.
        decoder: a speaker encoder, for the similarity of the voices: a decoder of ours that has one, a folder of
            transformers' (WavLM-SV), a .nemo speaker model, or resemblyzer; null leaves it out.
        vocoder: a run folder of decoder.train_vocoder, for a row of the recordings through mel and vocoder alone; null
            leaves it out.
        frame_rate: mel frames a second of the vocoders, for the hop modulation; recipes/vocoder_22k.yaml's: 86.1328125.
        asr: a recogniser: a .nemo file, a folder of transformers' (Whisper) or a URL; null leaves it out.
        utmos: a naturalness predictor as TorchScript; null leaves it out.
        dnsmos: rate all speech by DNSMOS, P.835 and P.808 (``pip install 'speechweave[quality]'``).
        distillmos: rate all speech by DistillMOS (``pip install --no-deps distillmos xls-r-sqa``).
        sheets: utterances on the listening page.
        limit: number of utterances of each resynthesis (the first ones); 0 takes all.
        processes: worker processes of the judge and the objective metrics.
        normaliser: of transcripts and texts before they are compared: spoken (lower case, numbers as they are spoken)
            or whisper (Whisper's English normaliser, which published word error rates use).
    """

    corpus: str
    resynthesis: dict[str, str] = option({})
    decoder: str | None = None
    vocoder: str | None = option(None, is_later=True)
    frame_rate: float = option(FRAME_RATE, above=0, at_most=1000, is_later=True)
    asr: str | None = None
    utmos: str | None = None
    dnsmos: bool = option(False, is_later=True)
    distillmos: bool = option(False, is_later=True)
    sheets: int = option(6, at_least=0)
    limit: int = option(0, at_least=0)
    processes: int = option(2, at_least=1)
    normaliser: str = option(SPOKEN, one_of=NORMALISERS, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(
            bool(self.resynthesis), "resynthesis", self.resynthesis, "name at least one: resynthesis.flow=<folder>"
        )
        for name, row in ((RECORDINGS, "the recordings' own row"), (COPY_SYNTHESIS, "the vocoder's own row")):
            check_option(
                name not in self.resynthesis, "resynthesis", name, f"that is the name of {row}; choose another"
            )

    @property
    def local_inputs(self) -> list[str]:
        """The files and folders that are read, URLs left out."""
        named = (self.corpus, *self.resynthesis.values(), self.decoder, self.vocoder, self.asr, self.utmos)
        return [path for path in named if path and "://" not in path and path != RESEMBLYZER]


@dataclass(kw_only=True)
class QualityScoreConfig(StageConfig):
    """Options of evaluation.quality_score.

    Attributes:
        measured: output folder of evaluation.quality, evaluation.tokenizer_set or evaluation.decoder_set.
        normaliser: of transcripts and texts before they are compared, as for evaluation.quality.
    """

    measured: str
    normaliser: str = option(SPOKEN, one_of=NORMALISERS)
