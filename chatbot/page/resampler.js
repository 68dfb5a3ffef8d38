/**
 * Changes the sampling rate of a stream by windowed-sinc polyphase filters (Smith, Digital Audio Resampling, 2002):
 * blocks of any length in, the same samples out as if the whole had come at once.
 *
 * A microphone's context runs at the device's rate (44.1 or 48 kHz as a rule), the wire at 24 kHz. Taking every
 * second sample would fold everything above 12 kHz into the speech.
 */

const ZERO_CROSSINGS = 24; // of the sinc on each side
const ROLL_OFF = 0.94; // the pass band's share of the lower Nyquist frequency
const KAISER_BETA = 9; // side lobes below -90 dB

/** @param {number} a @param {number} b @returns {number} */
const greatestCommonDivisor = (a, b) => (b ? greatestCommonDivisor(b, a % b) : a);

/** The modified Bessel function of order 0, by its power series. @param {number} x */
function bessel0(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) sum += term *= (x / 2 / k) ** 2;
  return sum;
}

export class Resampler {
  /** @param {number} from samples a second in @param {number} to samples a second out */
  constructor(from, to) {
    const common = greatestCommonDivisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const cutoff = ROLL_OFF * Math.min(1, to / from); // of the input's Nyquist frequency
    this.half = from === to ? 0 : Math.ceil(ZERO_CROSSINGS / cutoff); // input samples on each side
    this.filters = Array.from({ length: this.up }, (_, phase) => this.#filter(phase / this.up, cutoff));
    this.reset();
  }

  #filter(fraction, cutoff) {
    const taps = new Float32Array(2 * this.half + 1);
    for (let k = 0; k < taps.length; k++) {
      const x = k - this.half - fraction;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
      const place = x / (this.half + 1);
      taps[k] = sinc * bessel0(KAISER_BETA * Math.sqrt(Math.max(0, 1 - place * place)));
    }
    const sum = taps.reduce((total, tap) => total + tap, 0);
    return taps.map((tap) => tap / sum);
  }

  /** Forget the stream: the next block is the beginning of another. */
  reset() {
    this.pending = new Float32Array(this.half); // silence before the first sample
    this.phase = 0; // of the next output, in 1 / up input samples
  }

  /** @param {Float32Array} samples @returns {Float32Array} what can be told already: the last `half` samples wait */
  push(samples) {
    const input = new Float32Array(this.pending.length + samples.length);
    input.set(this.pending);
    input.set(samples, this.pending.length);
    const output = [];
    let at = 0;
    while (at + 2 * this.half < input.length) {
      const taps = this.filters[this.phase];
      let sum = 0;
      for (let k = 0; k < taps.length; k++) sum += taps[k] * input[at + k];
      output.push(sum);
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.pending = input.slice(at);
    return Float32Array.from(output);
  }

  /** The rest of the stream, with silence after it; then it begins anew. @returns {Float32Array} */
  finish() {
    const rest = this.push(new Float32Array(this.half));
    this.reset();
    return rest;
  }
}
