"""Options of training data: batches, augmentation, noise; free of torch so that ``--help`` stays light."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.audio.noise import NOISE_KINDS
from corpus.audio.segments import DURATION_TOLERANCE
from runtime.config import Options, option
from runtime.errors import check_option


@dataclass(kw_only=True)
class DataConfig(Options):
    """Batches of utterances.

    Attributes:
        batch_seconds: seconds of audio in a batch, padding included.
        min_seconds: shorter utterances are left out.
        max_seconds: longer utterances are left out.
        cache_mb: memory for mel frames kept from one epoch to the next.
        workers: threads that load the next batches ahead; 0 loads when needed.
        max_bad_share: largest share of bad records (unreadable audio, no transcript, too many labels).
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
    """

    batch_seconds: float = option(40.0, above=0)
    min_seconds: float = option(0.1, at_least=0)
    max_seconds: float = 30.0
    cache_mb: int = option(2000, at_least=0)
    workers: int = option(0, at_least=0)
    max_bad_share: float = option(0.02, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = f"it must exceed data.min_seconds ({self.min_seconds})"
        check_option(self.min_seconds < self.max_seconds, "data.max_seconds", self.max_seconds, remedy)


@dataclass(kw_only=True)
class AugmentConfig(Options):
    """Random changes of the mel frames in training, so that the tokens carry the words and not the speaker.

    Attributes:
        warp: largest relative stretch of the frequency axis, as by a longer or shorter vocal tract.
        stretch: largest relative change of speed.
        tilt: largest slope added over the frequency axis, in standard deviations of the mel.
        frequency_masks: bands blanked an utterance.
        frequency_width: their largest width, in mel bands.
        time_masks: gaps an utterance.
        time_width: their largest length, in frames.
    """

    warp: float = option(0.1, at_least=0, below=0.5)
    stretch: float = option(0.1, at_least=0, below=0.5)
    tilt: float = option(0.3, at_least=0)
    frequency_masks: int = option(1, at_least=0)
    frequency_width: int = option(12, at_least=0)
    time_masks: int = option(1, at_least=0)
    time_width: int = option(8, at_least=0)


@dataclass(kw_only=True)
class NoiseConfig(Options):
    """Noise added to the waveform.

    Attributes:
        kinds: of noise: ``white``, ``pink`` (3 dB less an octave), ``babble`` (other utterances over one another).
    """

    kinds: list[str] = option(list(NOISE_KINDS), one_of=NOISE_KINDS)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.kinds), "noise.kinds", self.kinds, f"choose from {', '.join(NOISE_KINDS)}")


@dataclass(kw_only=True)
class TrainingNoiseConfig(NoiseConfig):
    """Added noise in training, in the waveform: plain augmentation, and the loss that makes tokens robust to it.

    Attributes:
        kinds: as `NoiseConfig`, drawn alike; babble is made of other utterances of the batch.
        share: of the utterances whose ASR loss is computed under noise.
        consistency: weight of the loss that draws the front half's output for the noised utterance towards that for
            the clean one (see `tokenizer.training.objective.consistency_loss`); it doubles the front half's work. 0:
            none. It begins at ``vq.start_step``: before the ASR loss has shaped that output, it makes it collapse.
        min_snr: lowest signal-to-noise ratio, dB.
        max_snr: highest; drawn evenly between.
    """

    share: float = option(0.0, at_least=0, at_most=1)
    consistency: float = option(0.0, at_least=0)
    min_snr: float = 5.0
    max_snr: float = 25.0

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = f"it must be at least noise.min_snr ({self.min_snr})"
        check_option(self.max_snr >= self.min_snr, "noise.max_snr", self.max_snr, remedy)

    @property
    def is_on(self) -> bool:
        """Whether any noise is made."""
        return self.share > 0 or self.consistency > 0
