/** Runs on the audio thread: hands the microphone's samples to the page in blocks, at the context's own rate. */
class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.block = new Float32Array(processorOptions.blockSamples);
    this.filled = 0;
    this.port.onmessage = () => {
      this.post(); // asked for what there is, whole block or not
      this.port.postMessage(null);
    };
  }

  post() {
    const samples = this.block.slice(0, this.filled);
    this.filled = 0;
    if (samples.length) this.port.postMessage(samples, [samples.buffer]);
  }

  process([[channel]]) {
    if (!channel) return true; // nothing is connected yet
    for (let at = 0; at < channel.length; ) {
      const part = channel.subarray(at, at + this.block.length - this.filled);
      this.block.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === this.block.length) this.post();
    }
    return true;
  }
}

registerProcessor("speechweave-microphone", MicrophoneProcessor);
