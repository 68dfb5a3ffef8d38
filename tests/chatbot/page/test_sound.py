"""The page's sound, measured inside the browser: rates changed without aliases, blocks played without a seam."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from evaluation.served_chat.browser import browser, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

RESAMPLE = """
async ([samples, from, to, sizes]) => {
  const { Resampler } = await import("/page/resampler.js");
  const resampler = new Resampler(from, to);
  const output = [];
  for (let at = 0, i = 0; at < samples.length; at += sizes[i++ % sizes.length])
    output.push(...resampler.push(Float32Array.from(samples.slice(at, at + sizes[i % sizes.length]))));
  output.push(...resampler.finish());
  return output;
}
"""

PLAYER = """
async (length) => {
  const context = new OfflineAudioContext(1, length, 24000);
  await context.audioWorklet.addModule("/page/player-processor.js");
  const make = () => new AudioWorkletNode(context, "speechweave-player", {
    numberOfInputs: 0, outputChannelCount: [1], processorOptions: { headSamples: 200 },
  });
  const node = make();
  node.connect(context.destination);
  const other = make();  // on the same thread: when it has answered, what was posted before has arrived on both sides
  const settle = () => new Promise((resolve) => {
    other.port.onmessage = resolve;
    other.port.postMessage({ flush: true });
  });
  return { context, node, settle };
}
"""


def with_player(script: str) -> str:
    """A function that calls ``script`` with one that opens the player's worklet for so many samples."""
    return f"() => ({script})({PLAYER})"


@pytest.fixture(scope="module")
def page(url) -> Iterator[Page]:
    with browser() as chromium:
        yield open_page(chromium, url)


def resampled(page: Page, samples: np.ndarray, rates: tuple[int, int], sizes: list[int]) -> np.ndarray:
    return np.array(page.evaluate(RESAMPLE, [samples.tolist(), *rates, sizes]), dtype=np.float32)


def tone(hertz: float, rate: int, seconds: float = 0.25) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_tone_keeps_its_pitch_level_and_place(page: Page, rate: int) -> None:
    found = resampled(page, tone(1000, rate), (rate, 24000), [960])
    wanted = tone(1000, 24000)
    assert len(found) == len(wanted)
    inside = slice(200, -200)  # the ends ring
    assert np.abs(found[inside] - wanted[inside]).max() < 1e-3


def test_what_the_wire_cannot_carry_is_taken_out(page: Page) -> None:
    found = resampled(page, tone(13000, 48000), (48000, 24000), [960])  # every second sample would make 11 kHz of it
    assert np.abs(found[200:-200]).max() < 1e-3


def test_blocks_of_any_length_give_the_same_samples(page: Page) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    whole = resampled(page, noise, (44100, 24000), [5000])
    assert np.array_equal(resampled(page, noise, (44100, 24000), [1, 128, 7, 1023]), whole)
    assert len(whole) == -(-5000 * 80 // 147)


def test_samples_survive_the_wire(page: Page) -> None:
    codes = page.evaluate("""
      async () => {
        const { decodeBase64, encodeBase64, fromPcm16, toPcm16 } = await import("/page/pcm.js");
        const pcm = Int16Array.from({ length: 65536 }, (_, i) => i - 32768);
        return [...toPcm16(fromPcm16(decodeBase64(encodeBase64(pcm))))];
      }
    """)
    assert codes == list(range(-32768, 32768))
    loud = page.evaluate("async () => [...(await import('/page/pcm.js')).toPcm16(Float32Array.of(-2, 2, NaN))]")
    assert loud == [-32768, 32767, 0]


def test_blocks_are_played_one_after_the_other_without_a_seam(page: Page) -> None:
    """Three replies, the second in blocks of odd lengths; what each reports as played is its length."""
    result = page.evaluate(
        with_player("""
      async (player) => {
        const { context, node, settle } = await player(6000);
        const events = [];
        node.port.onmessage = ({ data }) => events.push(data);
        let next = 0;
        const push = (reply, count) =>
          node.port.postMessage({ push: Float32Array.from({ length: count }, () => ++next), reply });
        context.suspend(0).then(async () => {
          push("a", 300);
          node.port.postMessage({ end: "a" });
          for (const count of [1, 127, 128, 129, 777]) push("b", count);
          node.port.postMessage({ end: "b" });
          push("c", 150);  // less than the head, but there will be no more
          node.port.postMessage({ end: "c" });
          await settle();
          context.resume();
        });
        const samples = [...(await context.startRendering()).getChannelData(0)];
        await settle();
        return { samples, finished: events.filter((event) => "finished" in event), next };
      }
    """)
    )
    sounding = [sample for sample in result["samples"] if sample]
    assert sounding == list(range(1, result["next"] + 1))
    assert result["finished"] == [
        {"finished": "a", "played": 300},
        {"finished": "b", "played": 1162},
        {"finished": "c", "played": 150},
    ]
    within = result["samples"].index(301), result["samples"].index(300 + 1162)
    assert within[1] - within[0] == 1161, "a gap inside of a reply"


def test_sound_that_comes_too_late_is_told_and_an_end_that_comes_late_is_not(page: Page) -> None:
    events = page.evaluate(
        with_player("""
      async (player) => {
        const { context, node, settle } = await player(12000);
        const events = [];
        node.port.onmessage = ({ data }) => "progress" in data || events.push(Object.keys(data)[0]);
        const at = (seconds, message) => context.suspend(seconds).then(async () => {
          node.port.postMessage(message);
          await settle();
          context.resume();
        });
        at(0, { push: new Float32Array(600).fill(1), reply: "a" });
        at(0.1, { push: new Float32Array(600).fill(1), reply: "a" });
        at(0.3, { end: "a" });
        await context.startRendering();
        await settle();
        return events;
      }
    """)
    )
    assert events == ["started", "starved", "finished"]


def test_a_flush_is_silent_at_once_and_tells_what_was_played(page: Page) -> None:
    result = page.evaluate(
        with_player("""
      async (player) => {
        const { context, node, settle } = await player(9600);
        const events = [];
        node.port.onmessage = ({ data }) => events.push(data);
        context.suspend(0).then(async () => {
          node.port.postMessage({ push: new Float32Array(9000).fill(1), reply: "a" });
          await settle();
          context.resume();
        });
        context.suspend(0.1).then(async () => {
          node.port.postMessage({ flush: true });
          await settle();
          context.resume();
        });
        const samples = [...(await context.startRendering()).getChannelData(0)];
        await settle();
        return { samples, flushed: events.find((event) => "flushed" in event) };
      }
    """)
    )
    sounding = [index for index, sample in enumerate(result["samples"]) if sample]
    flushed_at = int(0.1 * 24000) // 128 * 128
    assert sounding[-1] < flushed_at + 256, "sound went on after the flush"
    played = sounding[-1] - sounding[0] + 1
    assert result["flushed"]["flushed"] == "a"
    assert played <= result["flushed"]["played"] <= played + 1  # the last sample of the fade is 1/128
    fade = np.diff(result["samples"][sounding[-1] - 126 : sounding[-1] + 1])
    assert (fade < 0).all() and fade.min() > -0.02, "a click at the end"


def test_the_microphone_hands_on_every_sample(page: Page) -> None:
    result = page.evaluate("""
      async () => {
        const context = new OfflineAudioContext(1, 4864, 48640);
        await context.audioWorklet.addModule("/page/microphone-processor.js");
        const node = new AudioWorkletNode(context, "speechweave-microphone", {
          numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions: { blockSamples: 1000 },
        });
        const blocks = [];
        const isDrained = new Promise((resolve) => {
          node.port.onmessage = ({ data }) => blocks.push(data) && data === null && resolve();
        });
        const buffer = new AudioBuffer({ length: 4864, sampleRate: 48640 });
        buffer.copyToChannel(Float32Array.from({ length: 4864 }, (_, i) => i + 1), 0);
        const source = new AudioBufferSourceNode(context, { buffer });
        source.connect(node);
        source.start();
        await context.startRendering();
        node.port.postMessage("drain");
        await isDrained;
        return blocks.map((block) => block && [...block]);
      }
    """)
    assert result[-1] is None, "the end of the drain is told"
    assert [len(block) for block in result[:-1]] == [1000, 1000, 1000, 1000, 864]
    assert [sample for block in result[:-1] for sample in block] == [float(i) for i in range(1, 4865)]
