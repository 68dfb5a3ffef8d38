"""espeak-ng by ctypes, from the wheel ``espeakng-loader``: no system package, 22.05 kHz, about 4 ms an utterance.

espeak-ng keeps state between utterances (phase, noise, intonation), even across its own re-initialisation. So that the
same call gives the same samples whatever came before, the library is loaded anew for each utterance, and both
random generators that it uses (its own and the C library's) start from the same seed.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
from pathlib import Path

import numpy as np

from corpus.audio.files import Samples

AUDIO_OUTPUT_SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # espeak_PARAMETER
UTF_8 = 1
SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, voice: str, *, rate: int = 175, pitch: int = 50, pitch_range: int = 50) -> tuple[Samples, int]:
    """Synthesise ``text``; the result depends on the arguments alone.

    Args:
        text: plain text; punctuation shapes the intonation.
        voice: language and variant, e.g. ``"en-us+f2"``.
        rate: words a minute, 80 to 450.
        pitch: 0 to 100.
        pitch_range: 0 (monotone) to 100.

    Returns:
        (S,) float32 samples and the sample rate in Hz.

    Raises:
        ValueError: espeak-ng has no such voice.
        RuntimeError: the library is held loaded by someone else in this process, or does not work.
    """
    import espeakng_loader

    path = espeakng_loader.get_library_path()
    if is_loaded(path):
        raise RuntimeError(f"{path} is in use in this process: its state would leak into the speech")
    library = ctypes.CDLL(path)
    try:
        return _speak(library, Path(espeakng_loader.get_data_path()), text, voice, (rate, pitch, pitch_range))
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _speak(
    library: ctypes.CDLL, data: Path, text: str, voice: str, settings: tuple[int, int, int]
) -> tuple[Samples, int]:
    pieces: list[bytes] = []

    @SYNTH_CALLBACK
    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _: int | None) -> int:
        if count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    sample_rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), DO_NOT_EXIT)
    if sample_rate <= 0:
        raise RuntimeError(f"espeak-ng does not start with its data in {data}")
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    library.espeak_SetSynthCallback(collect)
    for parameter, value in zip((RATE, PITCH, RANGE), settings, strict=True):
        library.espeak_SetParameter(parameter, value, 0)
    library.espeak_ng_SetRandSeed(1)
    ctypes.CDLL(None).srand(1)
    encoded = text.encode() + b"\0"
    if library.espeak_Synth(encoded, len(encoded), 0, 1, 0, UTF_8, None, None) != 0:
        raise RuntimeError(f"espeak-ng refused to say {text!r}")
    return np.frombuffer(b"".join(pieces), np.int16).astype(np.float32) / np.float32(32768), sample_rate


def is_loaded(path: str) -> bool:
    """Whether the shared library is loaded in this process."""
    try:
        _ctypes.dlclose(ctypes.CDLL(path, mode=os.RTLD_NOLOAD)._handle)
    except OSError:
        return False
    return True
