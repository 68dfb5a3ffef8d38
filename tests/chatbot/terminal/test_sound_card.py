"""The loudspeaker's queue, called as PortAudio's thread calls it; the devices themselves are not here."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatbot.terminal import sound_card
from chatbot.terminal.sound_card import Loudspeaker, Microphone

from ..conftest import HANG_SECONDS  # noqa: TID252

DEVICE_RATE = 16000


class Device:
    """Keeps the callback of the stream that was opened."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.callback: Any = None

    def open(self, kind: str, rate: int, callback: Any) -> Any:
        self.callback = callback
        return SimpleNamespace(samplerate=self.rate, latency=0.0, close=lambda: None)

    def take(self, count: int) -> np.ndarray:
        out_SC = np.full((count, 1), 9.0, np.float32)
        self.callback(out_SC, count, None, None)
        return out_SC[:, 0]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device(DEVICE_RATE)
    monkeypatch.setattr(sound_card, "open_stream", found.open)
    return found


def test_what_is_played_comes_out_in_order_with_silence_where_nothing_is_there(device: Device) -> None:
    loudspeaker = Loudspeaker(DEVICE_RATE)
    sound = np.arange(1, 101, dtype=np.float32)
    for start in (0, 30, 31):
        loudspeaker.play(sound[start : {0: 30, 30: 31, 31: 100}[start]])
    heard = np.concatenate([device.take(count) for count in (7, 50, 43, 20)])
    np.testing.assert_array_equal(heard, np.append(sound, np.zeros(20)))
    asyncio.run(asyncio.wait_for(loudspeaker.finish(), HANG_SECONDS))


def test_stop_is_silence_at_once_and_tells_how_much_was_heard(device: Device) -> None:
    loudspeaker = Loudspeaker(DEVICE_RATE)
    loudspeaker.play(np.ones(DEVICE_RATE, np.float32))
    device.take(4000)
    assert loudspeaker.stop() == 0.25
    assert not device.take(4000).any()
    assert loudspeaker.stop() == 0.0


def test_a_device_of_another_rate_gets_resampled_sound(device: Device) -> None:
    device.rate = 48000
    loudspeaker = Loudspeaker(DEVICE_RATE)
    tone = np.sin(np.arange(DEVICE_RATE) / 20).astype(np.float32)
    loudspeaker.play(tone)

    async def finish() -> float:
        waiting = asyncio.create_task(loudspeaker.finish())
        while not waiting.done():
            device.take(1000)
            await asyncio.sleep(0)
        return loudspeaker.stop()

    assert asyncio.run(asyncio.wait_for(finish(), HANG_SECONDS)) == pytest.approx(1.0, abs=1e-3)


def test_the_microphone_gives_16_khz(device: Device) -> None:
    device.rate = 48000

    async def listen() -> int:
        count = 0
        async with Microphone() as microphone:
            for _ in range(10):
                device.callback(np.ones((4800, 1), np.float32), 4800, None, None)
                count += len(await anext(microphone))
        return count

    assert 0.8 * 16000 < asyncio.run(asyncio.wait_for(listen(), HANG_SECONDS)) <= 16000
