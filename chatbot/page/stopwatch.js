/**
 * Times one answer from the moment the user stopped to speak. Hands-free, the server says where in the stream the
 * speech ended; the time it then waited to be sure is part of the measure, as it is for the user's patience.
 *
 * @typedef {{sound: number, text: number | null, voice: number | null}} Measurement
 *   seconds from the end of the question to the first sound heard, the first text, the first sound received
 */

import { RATE } from "./pcm.js";

const TAIL = 100; // milliseconds of silence that the server leaves at the end of a turn

export class Stopwatch {
  constructor() {
    this.samples = 0; // sent in this session
    this.sentAt = 0;
    this.spoken(null);
  }

  /** @param {number} count samples that went to the server just now */
  sent(count) {
    this.samples += count;
    this.sentAt = performance.now();
  }

  /** A new connection counts from its own beginning. */
  restart() {
    this.samples = 0;
  }

  /** @param {number | null} when the user stopped to speak, on performance.now's clock */
  spoken(when) {
    this.end = when;
    this.text = this.voice = null;
  }

  /** The server heard the end of the speech. @param {number} position in the sound that it got, milliseconds */
  stopped(position) {
    this.spoken(this.sentAt - (1000 * this.samples) / RATE + position - TAIL);
  }

  wrote() {
    this.text ??= this.#since(performance.now());
  }

  voiced() {
    this.voice ??= this.#since(performance.now());
  }

  interrupted() {
    this.end = null;
  }

  /** @param {number} when the first sample reached the ear @returns {Measurement | null} */
  sounded(when) {
    if (this.end === null) return null;
    const measured = { sound: this.#since(when), text: this.text, voice: this.voice };
    this.end = null;
    return measured;
  }

  #since(when) {
    return this.end === null ? null : (when - this.end) / 1000;
  }
}
