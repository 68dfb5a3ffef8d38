/** Plays replies as they come: 24 kHz blocks through one AudioWorklet queue, never re-encoded, never a seam. */

import { RATE } from "./pcm.js";
import { Resampler } from "./resampler.js";

const HEAD_SECONDS = 0.08; // of sound in hand before a reply starts: what a network's jitter may take

export class Player extends EventTarget {
  /**
   * Events, each with `detail.reply`: `started` (`detail.when`, on performance.now's clock), `starved`,
   * `progress` and `finished` (`detail.seconds` played).
   */
  constructor() {
    super();
    this.analyser = null;
    this.pushed = new Map(); // reply -> its resampler, or null where the context runs at RATE
    this.playing = null; // the reply that sounds or is about to
  }

  /** Call from a click or a key: browsers let no page sound before one. */
  async open() {
    this.opening ??= this.#open();
    await this.opening;
    if (this.context.state === "suspended") await this.context.resume();
  }

  async #open() {
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("/page/player-processor.js");
    this.node = new AudioWorkletNode(this.context, "speechweave-player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { headSamples: Math.round(HEAD_SECONDS * this.context.sampleRate) },
    });
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    this.node.connect(this.analyser);
    this.node.connect(this.context.destination);
    this.node.port.onmessage = ({ data }) => this.#take(data);
  }

  get isPlaying() {
    return this.playing !== null;
  }

  /** Seconds from the worklet to the ear. */
  get delay() {
    return this.context ? (this.context.baseLatency || 0) + (this.context.outputLatency || 0) : 0;
  }

  /** @param {string} reply @param {Float32Array} samples at `RATE` */
  push(reply, samples) {
    if (!this.context) return; // no click yet: a page may not sound
    if (!this.pushed.has(reply)) {
      const isSame = this.context.sampleRate === RATE; // some browsers keep to the device's rate
      this.pushed.set(reply, isSame ? null : new Resampler(RATE, this.context.sampleRate));
    }
    this.playing ??= reply;
    const resampler = this.pushed.get(reply);
    this.#send(reply, resampler ? resampler.push(samples) : samples);
  }

  #send(reply, samples) {
    this.node.port.postMessage({ push: samples, reply }, [samples.buffer]);
  }

  /** No more sound of `reply` will come. */
  end(reply) {
    if (!this.pushed.has(reply)) return;
    const resampler = this.pushed.get(reply);
    if (resampler) this.#send(reply, resampler.finish());
    this.pushed.delete(reply);
    this.node.port.postMessage({ end: reply });
  }

  /**
   * Be silent at once.
   * @returns {Promise<{reply: string, seconds: number} | null>} what sounded, and how much of it reached the ear
   */
  async flush() {
    if (!this.isPlaying) return null;
    const interrupted = this.playing;
    this.playing = null;
    this.pushed.clear();
    const isRunning = this.context.state === "running"; // else nothing sounds, and the worklet does not answer
    const { flushed, played } = await new Promise((resolve) => {
      this.flushed = resolve;
      this.node.port.postMessage({ flush: true });
      if (!isRunning) resolve({ flushed: null, played: 0 });
    });
    if (flushed === null) return { reply: interrupted, seconds: 0 };
    return { reply: flushed, seconds: Math.max(0, played / this.context.sampleRate - this.delay) };
  }

  #take(message) {
    if ("flushed" in message) {
      this.flushed(message);
      return;
    }
    const [name] = Object.keys(message);
    const detail = { reply: message[name], seconds: (message.played ?? 0) / this.context.sampleRate };
    if (name === "started") {
      this.playing = detail.reply;
      const ahead = message.at - this.context.currentTime + this.delay; // of the moment the message arrived
      detail.when = performance.now() + 1000 * Math.max(0, ahead);
    }
    if (name === "finished" && this.playing === detail.reply) this.playing = this.pushed.keys().next().value ?? null;
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
