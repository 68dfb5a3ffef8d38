/**
 * What of a held turn goes to the server: from a moment before the first loud block on. Silence in front of a question
 * costs the model time and certainty, and a turn of silence alone is no question.
 */

import { RATE } from "./pcm.js";

const KEPT = Math.round(0.12 * RATE); // samples from before the first loud block
const LOUD = 0.02; // root mean square (full scale 1) that is speech in any room
const QUIET = 0.003; // what is below is speech in none
const ABOVE = 3; // times the room's own level: speech in between

export class Outbox {
  constructor() {
    this.floor = LOUD; // the room's own level: follows quieter blocks at once, louder ones slowly
    this.clear();
  }

  /** Forget what waits; the next turn has to become loud again. */
  clear() {
    this.blocks = [];
    this.length = 0;
    this.hasSpeech = false;
  }

  /** @param {Int16Array} block @param {boolean} isOpen whether it is the user's turn @returns {Int16Array[]} to send */
  add(block, isOpen) {
    const level = Math.sqrt(block.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / block.length);
    if (!isOpen || !this.hasSpeech) this.floor = Math.min(level, this.floor * 1.02 + 1e-5);
    this.blocks.push(block);
    this.length += block.length;
    if (isOpen && (level > LOUD || level > Math.max(QUIET, ABOVE * this.floor))) this.hasSpeech = true;
    if (isOpen && this.hasSpeech) {
      const ready = this.blocks;
      this.blocks = [];
      this.length = 0;
      return ready;
    }
    while (this.length - this.blocks[0].length >= KEPT) this.length -= this.blocks.shift().length;
    return [];
  }
}
