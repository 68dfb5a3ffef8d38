/** The last moment before the user's turn: a key is pressed a little after the mouth has opened. */

import { RATE } from "./pcm.js";

const KEPT = Math.round(0.2 * RATE); // samples from before the turn

export class Outbox {
  constructor() {
    this.clear();
  }

  clear() {
    this.blocks = [];
    this.length = 0;
  }

  /** @param {Int16Array} block @param {boolean} isOpen whether it is the user's turn @returns {Int16Array[]} to send */
  add(block, isOpen) {
    this.blocks.push(block);
    this.length += block.length;
    if (isOpen) {
      const ready = this.blocks;
      this.clear();
      return ready;
    }
    while (this.length - this.blocks[0].length >= KEPT) this.length -= this.blocks.shift().length;
    return [];
  }
}
