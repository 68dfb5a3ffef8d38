"""Microphone and loudspeaker of this machine, through the optional package sounddevice (PortAudio).

    loudspeaker = Loudspeaker(rate)        # SoundCardError where there is none
    loudspeaker.play(samples)              # goes on while the next samples are made
    async with Microphone() as microphone:
        async for samples in microphone:   # (S,) float32 at 16 kHz, 40 ms at a time
            ...

S samples.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Any

import numpy as np

from chatbot.engine.pcm import Resampler
from corpus.audio.files import SAMPLE_RATE, Samples

BLOCK_SECONDS = 0.04
POLL_SECONDS = 0.02


class SoundCardError(RuntimeError):
    """There is no such device, or nothing to reach it with; the message says what to do."""


def sound_library() -> Any:
    """The module sounddevice.

    Raises:
        SoundCardError: it is not installed, or PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise SoundCardError("sounddevice is not installed (pip install speechweave[microphone])") from error
    except OSError as error:
        raise SoundCardError("PortAudio is not installed (on Debian: apt-get install libportaudio2)") from error
    return sounddevice


def open_stream(kind: str, rate: int, callback: Any) -> Any:
    """A running mono float32 stream of the default device; at the device's own rate if it does not take ``rate``.

    Raises:
        SoundCardError: there is no such device.
    """
    library = sound_library()
    maker = library.InputStream if kind == "input" else library.OutputStream
    try:
        own = int(library.query_devices(kind=kind)["default_samplerate"])
    except (library.PortAudioError, ValueError) as error:
        raise SoundCardError(f"no {'microphone' if kind == 'input' else 'loudspeaker'} is there ({error})") from error
    failure: Exception | None = None
    for chosen in dict.fromkeys((rate, own)):
        try:
            stream = maker(
                samplerate=chosen,
                channels=1,
                dtype="float32",
                blocksize=int(chosen * BLOCK_SECONDS),
                callback=callback,
            )
            stream.start()
            return stream
        except library.PortAudioError as error:
            failure = error
    raise SoundCardError(f"the {kind} device cannot be opened ({failure})") from failure


class Loudspeaker:
    """Plays samples as they come.

    Args:
        rate: of the samples, Hz.

    Raises:
        SoundCardError: there is none.
    """

    def __init__(self, rate: int) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Samples] = deque()
        self._played = 0
        self._stream = open_stream("output", rate, self._fill)
        self._rate = int(self._stream.samplerate)
        self._resampler = Resampler(rate, self._rate)

    def play(self, samples: Samples) -> None:
        """Add (S,) samples to what is played."""
        self._add(self._resampler.feed(samples))

    def _add(self, samples: Samples) -> None:
        with self._lock:
            if len(samples):
                self._waiting.append(samples)

    async def finish(self) -> None:
        """Wait until all was played."""
        self._add(self._resampler.finish())
        while True:
            with self._lock:
                if not self._waiting:
                    break
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(float(np.max(self._stream.latency)))

    def stop(self) -> float:
        """Be silent at once; the seconds that were played since the last stop."""
        with self._lock:
            self._waiting.clear()
            played, self._played = self._played, 0
        self._resampler.finish()
        return played / self._rate

    def close(self) -> None:
        """Let go of the device."""
        self._stream.close()

    def _fill(self, out_SC: Any, count: int, *_: object) -> None:
        """PortAudio's own thread asks for the next ``count`` samples."""
        out_SC.fill(0)
        at = 0
        with self._lock:
            while at < count and self._waiting:
                piece = self._waiting.popleft()
                taken = piece[: count - at]
                out_SC[at : at + len(taken), 0] = taken
                at += len(taken)
                if len(taken) < len(piece):
                    self._waiting.appendleft(piece[len(taken) :])
            self._played += at


class Microphone:
    """Samples of the default input device at 16 kHz, while the context is open.

    Raises:
        SoundCardError: (on entering) there is none.
    """

    async def __aenter__(self) -> Microphone:
        loop = asyncio.get_running_loop()
        self._blocks: asyncio.Queue[Samples] = asyncio.Queue()

        def take(in_SC: Any, *_: object) -> None:
            loop.call_soon_threadsafe(self._blocks.put_nowait, in_SC[:, 0].copy())

        self._stream = open_stream("input", SAMPLE_RATE, take)
        self._resampler = Resampler(int(self._stream.samplerate), SAMPLE_RATE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._stream.close)

    def __aiter__(self) -> Microphone:
        return self

    async def __anext__(self) -> Samples:
        return self._resampler.feed(await self._blocks.get())
