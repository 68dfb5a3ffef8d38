"""flite (Festival Lite) by ctypes, from the system's ``libflite1`` where it is installed: voices built on human speech.

``apt-get install libflite1`` on Debian and Ubuntu. 16 kHz, about 17 ms an utterance.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from corpus.audio.files import Samples

VOICES = ("slt", "rms", "awb", "kal16")


class Wave(ctypes.Structure):
    """``cst_wave`` of flite/include/cst_wave.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class FliteVoice(ctypes.Structure):
    """The beginning of ``cst_voice`` of flite/include/cst_voice.h."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The initialised library; None where it is not installed."""
    try:
        flite = ctypes.CDLL("libflite.so.1")
    except OSError:
        return None
    flite.flite_init()
    flite.flite_text_to_wave.restype = ctypes.POINTER(Wave)
    flite.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.POINTER(FliteVoice))
    flite.flite_feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
    flite.delete_wave.argtypes = (ctypes.POINTER(Wave),)
    return flite


@functools.cache
def load_voice(name: str) -> ctypes._Pointer[FliteVoice] | None:
    """Load one of `VOICES`; None where it is not installed."""
    if library() is None:
        return None
    try:
        register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    except (OSError, AttributeError):
        return None
    register.restype = ctypes.POINTER(FliteVoice)
    register.argtypes = (ctypes.c_char_p,)
    return register(None)


def is_available() -> bool:
    """Whether the library and all `VOICES` are installed."""
    return all(load_voice(name) is not None for name in VOICES)


def speak(text: str, voice: str, *, stretch: float = 1.0) -> tuple[Samples, int]:
    """Say ``text``; the result depends on nothing but the arguments.

    Args:
        text: plain ASCII text; punctuation shapes the intonation.
        voice: one of `VOICES`.
        stretch: durations are multiplied by it.

    Returns:
        (S,) float32 samples and the sample rate in Hz.

    Raises:
        RuntimeError: flite or the voice is not installed.
    """
    flite, loaded = library(), load_voice(voice)
    if flite is None or loaded is None:
        raise RuntimeError(f"flite's voice {voice} is not installed: apt-get install libflite1, or set engines=espeak")
    flite.flite_feat_set_float(loaded.contents.features, b"duration_stretch", stretch)
    ctypes.CDLL(None).srand(1)  # flite's excitation noise comes from the C library's rand
    wave = flite.flite_text_to_wave(text.encode("ascii", "replace"), loaded)
    if not wave:
        raise RuntimeError(f"flite refused to say {text!r}")
    try:
        pcm = ctypes.string_at(wave.contents.samples, 2 * wave.contents.num_samples)
        return np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(32768), wave.contents.sample_rate
    finally:
        flite.delete_wave(wave)
