/** The microphone as a stream of 24 kHz blocks. Once allowed it stays open, so that the first syllable is never lost. */

import { RATE } from "./pcm.js";
import { Resampler } from "./resampler.js";

const BLOCK_SECONDS = 0.04;

/** What to tell the user when the browser gives no microphone, by the error's name. */
const REASONS = {
  NotAllowedError:
    "The browser refuses the microphone. Allow it in the site settings beside the address, then try again. " +
    "You can type your questions meanwhile.",
  NotFoundError: "No microphone was found. Plug one in and try again, or type your questions.",
  NotReadableError: "The microphone is in use by another program. Close that and try again, or type your questions.",
  InsecureContext:
    "Browsers give the microphone only to pages from https or localhost. Open this page through https or through a " +
    "tunnel (ssh -L 8000:localhost:8000 host), or type your questions.",
};

export class MicrophoneRefused extends Error {}

export class Microphone extends EventTarget {
  /** Events: `block` with `detail` a Float32Array at `RATE`; `lost` when the device is gone. */
  constructor() {
    super();
    this.stream = null;
    this.context = null;
    this.analyser = null;
  }

  get isOpen() {
    return this.stream !== null;
  }

  /**
   * Ask for the microphone, once.
   * @param {{echo: boolean, noise: boolean}} remove what the browser takes out
   * @throws {MicrophoneRefused} with a message for the user
   */
  async open(remove) {
    this.opening ??= this.#open(remove).finally(() => (this.opening = null));
    return this.opening;
  }

  async #open(remove) {
    if (this.isOpen) return;
    if (!navigator.mediaDevices?.getUserMedia) throw new MicrophoneRefused(REASONS.InsecureContext);
    const { echo, noise } = remove;
    const audio = { channelCount: 1, echoCancellation: echo, noiseSuppression: noise, autoGainControl: echo || noise };
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("/page/microphone-processor.js"); // all is ready when the sound comes
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      this.close();
      throw new MicrophoneRefused(REASONS[error.name] ?? `The microphone could not be opened (${error.name}).`);
    }
    this.resampler = new Resampler(this.context.sampleRate, RATE);
    this.node = new AudioWorkletNode(this.context, "speechweave-microphone", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { blockSamples: Math.round(BLOCK_SECONDS * this.context.sampleRate) },
    });
    this.node.port.onmessage = ({ data }) => (data ? this.#pass(this.resampler.push(data)) : this.drained?.());
    const source = this.context.createMediaStreamSource(this.stream);
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    source.connect(this.analyser);
    source.connect(this.node);
    this.stream.getAudioTracks()[0].addEventListener("ended", () => {
      this.close();
      this.dispatchEvent(new Event("lost"));
    });
    await this.context.resume();
  }

  #pass(samples) {
    if (samples.length) this.dispatchEvent(new CustomEvent("block", { detail: samples }));
  }

  /** Everything that was said until now comes as blocks before this is done. */
  async drain() {
    await new Promise((resolve) => {
      this.drained = resolve;
      this.node.port.postMessage("drain");
    });
    this.#pass(this.resampler.finish());
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.stream = this.context = this.analyser = null;
  }
}
