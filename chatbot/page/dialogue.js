/**
 * One conversation: what the user does and what the server sends become turns, sound and phases. It touches no element
 * of the page; main.js listens to its events.
 *
 * Events: `turn` {id, role, text, isUnwritten, state: "open" | "done" | "stopped" | "failed"}, `phase` with its name,
 * `measured` with a `Measurement`, `problem` with a message, `cleared`.
 */

import { decodeBase64, encodeBase64, fromPcm16, toPcm16 } from "./pcm.js";
import { Outbox } from "./outbox.js";
import { Stopwatch } from "./stopwatch.js";

const TURN_END = { type: "server_vad", threshold: 0.5, prefix_padding_ms: 160, silence_duration_ms: 500 };
const HARMLESS = new Set([
  "response_cancel_not_active", // it ended by itself meanwhile
  "engine_full", // these three end the connection, which tells of it and opens anew
  "session_idle",
  "session_expired",
]);

/** @typedef {"idle" | "listening" | "waiting" | "hearing" | "thinking" | "speaking"} Phase */

export class Dialogue extends EventTarget {
  /** @param {{connection: Connection, player: Player, model: string, hasTranscripts: boolean}} parts */
  constructor({ connection, player, model, hasTranscripts }) {
    super();
    this.connection = connection;
    this.player = player;
    this.model = model;
    this.hasTranscripts = hasTranscripts; // what the user says is written down
    this.options = { voice: null, isHandsFree: false, isSpoken: true };
    this.turns = new Map(); // id of the server's item -> turn, in the order shown
    this.sounds = new Map(); // id of the reply's item -> Int16Array blocks, to save them
    this.isListening = false; // the microphone's blocks go to the server
    this.response = null; // id of the one under way
    this.asked = 0; // responses asked for that did not begin yet
    this.unwanted = 0; // of those, the ones stopped before they began
    this.stopped = new Set(); // responses of which we want no more
    this.stopwatch = new Stopwatch();
    this.outbox = new Outbox();
    this.phase = "idle";
    connection.addEventListener("event", ({ detail }) => this.#handle(detail));
    connection.addEventListener("state", ({ detail }) => detail.state !== "ready" && this.#lost());
    player.addEventListener("started", ({ detail }) => this.#sounds(detail.when));
    player.addEventListener("finished", () => this.#settle());
  }

  // ---------------------------------------------------------------- what the user does

  /** @param {Partial<{voice: string, isHandsFree: boolean, isSpoken: boolean}>} changes */
  configure(changes) {
    Object.assign(this.options, changes);
    const { voice, isHandsFree, isSpoken } = this.options;
    const format = { type: "audio/pcm", rate: 24000 };
    const input = { format, transcription: this.hasTranscripts ? { model: this.model } : null, turn_detection: isHandsFree ? TURN_END : null };
    const output = voice ? { format, voice } : { format };
    const session = { type: "realtime", output_modalities: [isSpoken ? "audio" : "text"], audio: { input, output } };
    this.connection.send({ type: "session.update", session });
  }

  /** Blocks of the microphone: kept for a moment before the user's turn, sent during it. @param {Float32Array} block */
  hear(block) {
    const pcm = toPcm16(block);
    const isFree = this.isListening && this.options.isHandsFree; // the server looks for speech itself
    for (const ready of isFree ? [pcm] : this.outbox.add(pcm, this.isListening)) {
      if (!this.connection.send({ type: "input_audio_buffer.append", audio: encodeBase64(ready) })) continue;
      this.stopwatch.sent(ready.length);
    }
  }

  /** The user begins to speak (push to talk), or opens the microphone for good (hands-free). */
  listen() {
    if (this.isListening) return;
    if (!this.options.isHandsFree) this.interrupt();
    this.isListening = true;
    this.outbox.hasSpeech = false;
    this.#enter(this.options.isHandsFree ? "waiting" : "listening");
  }

  /** The user has spoken (push to talk): answer. */
  answer() {
    if (!this.outbox.hasSpeech) {
      this.ignore();
      this.#complain("Nothing was heard. Speak while the button is held, and look whether the level moves.");
      return;
    }
    this.isListening = false;
    this.stopwatch.spoken(performance.now());
    this.connection.send({ type: "input_audio_buffer.commit" });
    this.#respond();
  }

  /** Close the microphone and forget what was not yet answered. */
  ignore() {
    this.isListening = false;
    this.connection.send({ type: "input_audio_buffer.clear" });
    this.#settle();
  }

  /** A typed question. @param {string} text */
  async ask(text) {
    await this.interrupt(); // what was heard of the last answer belongs in front of the question
    const id = `typed_${Date.now().toString(36)}`;
    const item = { id, type: "message", role: "user", content: [{ type: "input_text", text }] };
    this.connection.send({ type: "conversation.item.create", item });
    this.#update(id, { role: "user", text, state: "done" });
    this.stopwatch.spoken(performance.now());
    this.#respond();
  }

  #respond() {
    this.#enter("thinking");
    if (this.connection.send({ type: "response.create" })) this.asked++;
  }

  /** Stop the reply: no more sound, no more text, and the server learns how much of it was heard. */
  async interrupt() {
    const item = this.player.playing;
    if (this.response || this.asked > this.unwanted) {
      this.connection.send({ type: "response.cancel" });
      if (this.response) this.stopped.add(this.response);
      else this.unwanted = this.asked;
      this.response = null;
    }
    if (item === null) return;
    const heard = await this.player.flush();
    this.#update(item, { state: "stopped" });
    const end = Math.round(1000 * (heard?.seconds ?? 0));
    this.connection.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: end });
    this.stopwatch.interrupted();
  }

  /** The stop button: as `interrupt`, and the user does not go on to speak. */
  async stop() {
    await this.interrupt();
    this.#settle();
  }

  /** Forget everything that was said, here and on the server. */
  async restart() {
    this.isListening = false;
    await this.player.flush();
    this.turns.clear();
    this.sounds.clear();
    this.dispatchEvent(new Event("cleared"));
    this.connection.open();
  }

  // ---------------------------------------------------------------- what the server sends

  #handle(event) {
    const response = event.response_id ?? event.response?.id;
    if (response && this.stopped.has(response)) {
      if (event.type === "response.done") this.#ended(event.response, true);
      return;
    }
    switch (event.type) {
      case "session.created":
        this.configure({});
        this.#remind();
        break;
      case "input_audio_buffer.speech_started":
        this.#bargeIn(event.item_id);
        break;
      case "input_audio_buffer.speech_stopped":
        this.stopwatch.stopped(event.audio_end_ms);
        this.#enter("thinking");
        break;
      case "input_audio_buffer.committed":
        this.#update(event.item_id, { role: "user", state: "open" });
        break;
      case "conversation.item.added":
        this.#added(event.item);
        break;
      case "conversation.item.input_audio_transcription.delta":
        this.#update(event.item_id, { role: "user" }, event.delta);
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.#update(event.item_id, { role: "user", text: event.transcript, state: "done" });
        if (!event.transcript) this.#settle(); // nobody spoke: no reply need follow
        break;
      case "conversation.item.input_audio_transcription.failed":
        this.#update(event.item_id, { role: "user", text: "(could not be written down)", state: "failed" });
        break;
      case "response.created":
        this.#began(event.response.id);
        break;
      case "response.output_item.added":
        this.#update(event.item.id, { role: "assistant", state: "open" });
        break;
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        this.stopwatch.wrote();
        this.#update(event.item_id, { role: "assistant" }, event.delta);
        break;
      case "response.output_audio.delta":
        this.#play(event.item_id, decodeBase64(event.delta));
        break;
      case "response.output_audio.done":
        this.player.end(event.item_id);
        break;
      case "response.done":
        this.#ended(event.response, false);
        break;
      case "error":
        if (!HARMLESS.has(event.error.code)) this.#complain(event.error.message);
        if (!this.response) this.#settle();
        break;
    }
  }

  /** Hands-free: the user speaks, over the reply or not. The server stops its reply by itself. */
  async #bargeIn(item) {
    if (this.response) this.stopped.add(this.response);
    this.response = null;
    this.#update(item, { role: "user", state: "open" });
    this.#enter("hearing");
    if (this.player.isPlaying) await this.interrupt();
  }

  #added(item) {
    if (item.type !== "message" || item.role !== "user") return;
    const spoken = item.content?.find((part) => part.type === "input_audio");
    if (spoken && !this.hasTranscripts) {
      const isUnwritten = spoken.transcript !== "";
      this.#update(item.id, { role: "user", state: "done", isUnwritten });
      if (!isUnwritten) this.#settle(); // nobody spoke: no reply need follow
      return;
    }
    const typed = item.content?.find((part) => part.type === "input_text")?.text;
    this.#update(item.id, typed ? { role: "user", text: typed, state: "done" } : { role: "user" });
  }

  #began(response) {
    this.asked = Math.max(0, this.asked - 1); // hands-free, the server asks itself
    if (this.unwanted > 0) {
      this.unwanted--;
      this.stopped.add(response);
      return;
    }
    this.response = response;
    this.#enter("thinking");
  }

  #play(item, pcm) {
    this.stopwatch.voiced();
    if (!this.sounds.has(item)) this.sounds.set(item, []);
    this.sounds.get(item).push(pcm);
    this.player.push(item, fromPcm16(pcm));
  }

  #sounds(when) {
    this.#enter("speaking");
    const measured = this.stopwatch.sounded(when);
    if (measured) this.dispatchEvent(new CustomEvent("measured", { detail: measured }));
  }

  #ended(response, wasStopped) {
    this.stopped.delete(response.id);
    if (this.response === response.id) this.response = null;
    const isFailed = response.status === "failed";
    const state = isFailed ? "failed" : wasStopped || response.status === "cancelled" ? "stopped" : "done";
    for (const item of response.output ?? []) {
      this.#update(item.id, { role: "assistant", state });
      if (!wasStopped) this.player.end(item.id);
    }
    if (isFailed) this.#complain(response.status_details?.error?.message ?? "The answer failed.");
    if (!wasStopped) this.#settle();
  }

  // ---------------------------------------------------------------- what follows from both

  #update(id, changes, more = "") {
    const turn = this.turns.get(id) ?? { id, role: "assistant", text: "", state: "open" };
    Object.assign(turn, changes);
    turn.text += more;
    this.turns.set(id, turn);
    this.dispatchEvent(new CustomEvent("turn", { detail: { ...turn } }));
  }

  #enter(phase) {
    this.phase = phase;
    this.dispatchEvent(new CustomEvent("phase", { detail: phase }));
  }

  /** Nothing is under way: back to waiting for the user. */
  #settle() {
    if (this.response || this.player.isPlaying) return;
    this.#enter(!this.isListening ? "idle" : this.options.isHandsFree ? "waiting" : "listening");
  }

  #complain(message) {
    this.dispatchEvent(new CustomEvent("problem", { detail: message }));
  }

  #lost() {
    this.response = null;
    this.asked = this.unwanted = 0;
    this.stopped.clear();
    this.stopwatch.restart();
    this.outbox.clear();
    for (const [item, turn] of this.turns) if (turn.state === "open") this.#update(item, { state: "failed" });
    for (const item of this.sounds.keys()) this.player.end(item);
    this.#settle();
  }

  /** After the connection broke, a new session is told what was said in the old one. */
  #remind() {
    for (const { id, role, text } of this.turns.values()) {
      if (!text) continue;
      const content = [{ type: role === "user" ? "input_text" : "output_text", text }];
      this.connection.send({ type: "conversation.item.create", item: { id, type: "message", role, content } });
    }
  }
}
