/** The WebSocket to /v1/realtime: opens, opens again after it broke, and hands on the server's events. */

const PATH = "/v1/realtime";
const FIRST_WAIT = 0.5; // seconds before the first new attempt; doubled after each
const LONGEST_WAIT = 15;
const MOST_UNSENT = 2_000_000; // bytes that wait in the browser: half a minute of speech, the network is gone

const IDLE = "idle"; // the server's reason when it lets go of who says nothing for long

/** @typedef {"closed" | "connecting" | "ready" | "waiting" | "asleep" | "key"} State */

export class Connection extends EventTarget {
  /**
   * Events: `state` with `detail` {state, seconds?, reason?}; `event` with `detail` a server event.
   * @param {string} model
   */
  constructor(model) {
    super();
    this.model = model;
    this.key = "";
    this.state = "closed";
    this.attempts = 0;
    this.count = 0; // of events sent, for their ids
    window.addEventListener("online", () => this.state === "waiting" && this.open());
  }

  #show(state, more = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...more } }));
  }

  /** Connect, or connect anew: the server then knows nothing of what was said before. */
  open() {
    this.close();
    this.#show("connecting");
    const url = new URL(PATH, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("model", this.model);
    const protocols = ["realtime", ...(this.key ? [`openai-insecure-api-key.${this.key}`] : [])];
    let socket;
    try {
      socket = new WebSocket(url, protocols);
    } catch {
      this.#show("key", { reason: "A browser can't send this key: it has characters that no WebSocket may carry." });
      return;
    }
    this.socket = socket;
    socket.onmessage = ({ data }) => this.socket === socket && this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.socket === socket && this.#lost(code, reason);
  }

  #receive(event) {
    if (event.type === "session.created") {
      this.attempts = 0;
      this.#show("ready");
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  /** A refused handshake says nothing to a page, so the server is asked over HTTP what it has against us. */
  async #lost(code, reason) {
    const socket = this.socket;
    const wasReady = this.state === "ready";
    if (wasReady && reason === IDLE) {
      this.socket = null;
      this.#show("asleep"); // a page that nobody uses takes no place on the server
      return;
    }
    const status = wasReady ? 0 : await this.#status();
    if (this.socket !== socket) return; // opened or closed again meanwhile
    this.socket = null;
    if (status === 401 || status === 403) {
      this.#show("key", { reason: this.key ? "The server does not accept this key." : "" });
      return;
    }
    const seconds = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.attempts++) * (0.75 + Math.random() / 2);
    const isRefused = code === 1013 || status > 0;
    const why = reason.replace(/\.$/, "") || (isRefused ? "All places are taken" : "Server out of reach");
    this.timer = setTimeout(() => this.open(), 1000 * seconds);
    this.#show("waiting", { seconds, reason: why });
  }

  async #status() {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    return fetch("/v1/models", { headers, cache: "no-store" }).then(
      (response) => response.status,
      () => 0,
    );
  }

  /** @param {object} event @returns {boolean} whether it went out */
  send(event) {
    if (this.state !== "ready") return false;
    if (this.socket.bufferedAmount > MOST_UNSENT) {
      this.open();
      return false;
    }
    this.socket.send(JSON.stringify({ event_id: `page_${++this.count}`, ...event }));
    return true;
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.#show("closed");
  }
}
