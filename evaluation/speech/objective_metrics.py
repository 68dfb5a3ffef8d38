"""Objective metrics that compare a resynthesis with its recording, frame by frame.

  mel_cepstral_distance   dB: 10 / ln 10 * sqrt(2 sum of squared differences of cepstra 1-13), mean over frames
                          (Kubichek 1993). Cepstra are of our 80-band log-mel, nothing is warped in time: compare such
                          figures with each other only, not with those of SPTK or after dynamic time warping.
  stoi                    0 to 1 (Taal et al. 2011; pystoi, resampled to 10 kHz). Made for noisy speech: it asks that
                          the envelopes agree in time, so a decoder that speaks a little earlier or later loses points
                          though every word is clear.
  pesq                    1 to 4.6, wide band (ITU-T P.862.2; the pesq package). Made for telephone codecs, and
                          outside its field for generated speech. Left out where either recording is silent.
  nsim                    up to 1: the similarity of spectrograms within ViSQOL (Hines et al. 2015: luminance and
                          structure in windows of 3 by 3), on our 80-band log-mel instead of gammatones, frame by
                          frame, not mapped to ratings: no ViSQOL score, but of its kind
  pitch_correlation       of the logarithm of the pitch (`evaluation.speech.pitch`)
  pitch_voicing           share of frames that are voiced in both or in neither

All need the words at the same times, as in a resynthesis, unlike in text-to-speech.

Shapes: S samples, F mel frames, M mel bins.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from corpus.audio.files import SAMPLE_RATE, Samples, read_audio
from corpus.audio.mel import LogMel
from corpus.audio.segments import read_segment

from .pitch import agreement, pitch
from .resynthesis import ResynthesisPair

METRICS = ("mel_cepstral_distance", "nsim", "stoi", "pesq", "pitch_correlation", "pitch_voicing")
CEPSTRA = 13
NSIM_RANGE = 45.0  # dB
NSIM_WINDOW = (0.1065, 0.7870, 0.1065)  # a Gaussian of standard deviation 0.5, over both axes
MIN_SECONDS = 0.5  # shorter ones have too few frames for STOI and PESQ


def missing_packages() -> list[str]:
    """The optional packages that are not installed; their metrics are left out."""
    return [name for name in ("pystoi", "pesq") if importlib.util.find_spec(name) is None]


def compare(pairs: Sequence[ResynthesisPair]) -> dict[str, dict[str, float | None]]:
    """The metrics of each pair by the id of its utterance; None where one is undefined."""
    return {
        pair.made.id: compare_audio(read_segment(pair.original.segment), read_audio(pair.made.audio)) for pair in pairs
    }


def compare_audio(true: Samples, made: Samples) -> dict[str, float | None]:
    """The metrics of two recordings at 16 kHz, cut to the length of the shorter."""
    length = min(len(true), len(made))
    true, made = true[:length], made[:length]
    tracks = agreement(pitch(true, SAMPLE_RATE), pitch(made, SAMPLE_RATE))
    found: dict[str, float] = {
        "mel_cepstral_distance": mel_cepstral_distance(true, made),
        "nsim": nsim(true, made),
        "stoi": stoi(true, made),
        "pesq": pesq(true, made),
        "pitch_correlation": tracks.correlation,
        "pitch_voicing": tracks.voicing,
    }
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in found.items()}


def mel_cepstral_distance(true: Samples, made: Samples) -> float:
    """In dB; NaN for less than a frame."""
    one, other = cepstra(true), cepstra(made)
    if not len(one):
        return math.nan
    return float(10 / math.log(10) * np.sqrt(2 * np.square(one - other).sum(axis=1)).mean())


def nsim(true: Samples, made: Samples) -> float:
    """Neurogram similarity index, of levels in dB down to 45 below each recording's loudest; NaN for silence."""
    if is_too_quiet(true) or is_too_quiet(made):
        return math.nan
    one, other = (levels(natural_mel(audio)) for audio in (true, made))
    steady, still = (0.01 * NSIM_RANGE) ** 2, (0.03 * NSIM_RANGE) ** 2
    mean_one, mean_other = smoothed(one), smoothed(other)
    spread_one, spread_other = (
        np.sqrt(np.maximum(smoothed(level**2) - mean**2, 0)) for level, mean in ((one, mean_one), (other, mean_other))
    )
    together = smoothed(one * other) - mean_one * mean_other
    luminance = (2 * mean_one * mean_other + steady) / (mean_one**2 + mean_other**2 + steady)
    structure = (together + still) / (spread_one * spread_other + still)
    return float((luminance * structure).mean())


def levels(mel_FM: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Levels in dB (F, M) above the floor, from 0 to `NSIM_RANGE`."""
    decibel = mel_FM * (20 / math.log(10))
    return np.maximum(decibel - decibel.max() + NSIM_RANGE, 0)


def smoothed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means in Gaussian windows of 3 by 3 (F - 2, M - 2)."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3))  # (F - 2, M - 2, 3, 3)
    return np.asarray(np.einsum("fmij,i,j->fm", windows, NSIM_WINDOW, NSIM_WINDOW))


def natural_mel(audio: Samples) -> npt.NDArray[np.float64]:
    """The natural logarithm of the mel spectrogram's amplitudes (F, M): of the whole frames of one or more."""
    log_mel = LogMel()
    whole = audio[: len(audio) // log_mel.config.hop * log_mel.config.hop]
    return np.asarray(log_mel.natural_log(log_mel(torch.from_numpy(whole)[None])[0].T).numpy().astype(np.float64))


def cepstra(audio: Samples) -> npt.NDArray[np.float64]:
    """Mel cepstra 1 to 13 (F, 13)."""
    if len(audio) < LogMel().config.hop:
        return np.zeros((0, CEPSTRA))
    mel_FM = natural_mel(audio)
    bands = mel_FM.shape[1]
    cosines = np.cos(np.pi * np.outer(np.arange(bands) + 0.5, np.arange(1, CEPSTRA + 1)) / bands)
    return np.asarray(mel_FM @ cosines / bands)


def stoi(true: Samples, made: Samples) -> float:
    """Short-time objective intelligibility; NaN where it is undefined."""
    if "pystoi" in missing_packages() or is_too_quiet(true) or is_too_quiet(made):
        return math.nan
    import pystoi  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # too few frames that are not silent
        try:
            return float(pystoi.stoi(true, made, SAMPLE_RATE))
        except RuntimeWarning:
            return math.nan


def pesq(true: Samples, made: Samples) -> float:
    """Wide-band PESQ; NaN where it is undefined."""
    if "pesq" in missing_packages() or is_too_quiet(true) or is_too_quiet(made):
        return math.nan
    from pesq import PesqError  # type: ignore[import-untyped]
    from pesq import pesq as score

    found = score(SAMPLE_RATE, true, made, "wb", on_error=PesqError.RETURN_VALUES)
    return float(found) if found > 0 else math.nan  # -1 is its error: no speech found


def is_too_quiet(audio: Samples) -> bool:
    """Whether there is too little sound to compare."""
    return len(audio) < MIN_SECONDS * SAMPLE_RATE or float(np.abs(audio).max()) < 1e-4
