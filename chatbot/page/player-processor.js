/**
 * Runs on the audio thread: plays blocks of samples one after the other without a seam, counts what was really played,
 * and falls silent at once when told to.
 *
 * In:  {push: Float32Array, reply}   more sound of a reply
 *      {end: reply}                  no more sound of it will come
 *      {flush: true}                 be silent now
 * Out: {started: reply, at}          its first sample plays; `at` on the context's clock, in seconds
 *      {progress: reply, played}     samples of it played so far
 *      {starved: reply}              its next block has come too late
 *      {finished: reply, played}     all of it was played
 *      {flushed: reply | null, played}
 */
const FADE = 128; // samples of a flush that fade out, so that it does not click

class PlayerProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.head = processorOptions.headSamples; // wait for so much before a reply starts, and after it starved
    this.longestHead = 8 * this.head;
    this.quanta = 0;
    this.clear();
    this.port.onmessage = ({ data }) => this.take(data);
  }

  clear() {
    this.queue = []; // blocks of the reply that plays, and of replies after it: {reply, samples}
    this.at = 0; // samples of the first block that were played
    this.waiting = 0; // samples in the queue
    this.reply = null; // the one that plays
    this.played = 0; // samples of it
    this.ended = new Set(); // replies whose last block has come
    this.isRunning = false;
    this.isFading = false;
  }

  take(message) {
    if (message.push) {
      this.queue.push({ reply: message.reply, samples: message.push });
      this.waiting += message.push.length;
    } else if (message.end !== undefined) {
      this.ended.add(message.end);
    } else if (message.flush) {
      this.isFading = this.isRunning && this.waiting > 0;
      if (!this.isFading) this.fallSilent();
    }
  }

  fallSilent() {
    this.port.postMessage({ flushed: this.reply, played: this.played });
    this.clear();
  }

  /** Whether there is sound to play now; begins, starves and ends replies. */
  isReady() {
    const next = this.queue[0]?.reply ?? null;
    if (this.reply !== null && next !== this.reply && this.ended.has(this.reply)) {
      this.port.postMessage({ finished: this.reply, played: this.played });
      this.ended.delete(this.reply);
      this.reply = null;
      this.isRunning = false;
    }
    if (this.waiting === 0) this.isRunning = false;
    if (!this.isRunning && next !== null && (this.waiting >= this.head || this.ended.has(next))) {
      if (this.reply === null) {
        this.reply = next;
        this.played = 0;
        this.port.postMessage({ started: next, at: currentTime });
      } else {
        this.port.postMessage({ starved: this.reply });
        this.head = Math.min(2 * this.head, this.longestHead); // rather one longer wait than many short ones
      }
      this.isRunning = true;
    }
    return this.isRunning;
  }

  /** Fill `channel` from the queue, with one reply's sound only. */
  fill(channel) {
    let filled = 0;
    while (filled < channel.length && this.queue.length && this.queue[0].reply === this.reply) {
      const block = this.queue[0].samples;
      const part = block.subarray(this.at, this.at + channel.length - filled);
      channel.set(part, filled);
      filled += part.length;
      this.at += part.length;
      if (this.at === block.length) {
        this.queue.shift();
        this.at = 0;
      }
    }
    this.waiting -= filled;
    this.played += filled;
  }

  process(_, [[channel]]) {
    if (!this.isReady()) return true;
    this.fill(channel);
    if (this.isFading) {
      for (let i = 0; i < channel.length; i++) channel[i] *= Math.max(0, 1 - i / FADE);
      this.fallSilent();
    } else if (++this.quanta % 8 === 0) {
      this.port.postMessage({ progress: this.reply, played: this.played });
    }
    return true;
  }
}

registerProcessor("speechweave-player", PlayerProcessor);
