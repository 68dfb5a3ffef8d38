/** Shows the turns of a dialogue as a list, each with its text and, where there is sound, buttons to hear or save it. */

import { wavFile } from "./pcm.js";

const NAMES = { user: "You", assistant: "Answer" };
const NOTES = { stopped: "stopped", failed: "failed" };
const NEAR_END = 60; // pixels from the end within which new text keeps the end in view

/** @template {keyof HTMLElementTagNameMap} T @param {T} name @param {object} [values] @param {(Node|string)[]} children */
function element(name, values = {}, ...children) {
  const made = Object.assign(document.createElement(name), values);
  made.append(...children);
  return made;
}

export class Transcript {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} empty shown while there is no turn
   * @param {(id: string) => Int16Array[] | undefined} soundOf the sound of a turn
   */
  constructor(list, empty, soundOf) {
    Object.assign(this, { list, empty, soundOf });
    this.rows = new Map();
    this.urls = [];
    this.isAtEnd = true; // and stays there when turns are added and when the window changes
    list.addEventListener("scroll", () => {
      this.isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END;
    });
    new ResizeObserver(() => this.#follow()).observe(list);
  }

  #follow() {
    if (this.isAtEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  clear() {
    this.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
    this.rows.clear();
    this.list.replaceChildren();
    this.empty.hidden = false;
  }

  /** @param {{id: string, role: string, text: string, state: string}} turn */
  show(turn) {
    const row = this.rows.get(turn.id) ?? this.#add(turn);
    row.item.dataset.state = turn.state;
    const unheard = turn.isUnwritten ? "(spoken)" : "(nothing heard)"; // not every model writes down what it hears
    const nothing = turn.role === "user" ? unheard : "(nothing)";
    row.text.textContent = turn.text || (turn.state === "open" ? "…" : turn.state === "done" ? nothing : "");
    row.note.textContent = NOTES[turn.state] ?? "";
    if (turn.state !== "open" && this.soundOf(turn.id) && !row.buttons.hasChildNodes()) this.#offer(row, turn);
    this.#follow();
  }

  #add({ id, role }) {
    const text = element("p", { className: "said", dir: "auto" });
    const note = element("span", { className: "note" });
    const buttons = element("span", { className: "turn-buttons" });
    const head = element("div", { className: "who" }, element("b", { textContent: NAMES[role] }), note, buttons);
    const item = element("li", { className: `turn ${role}` }, head, text);
    this.list.append(item);
    this.empty.hidden = true;
    const row = { item, text, note, buttons };
    this.rows.set(id, row);
    return row;
  }

  #offer(row, turn) {
    const label = turn.text.slice(0, 40) || "answer";
    const url = URL.createObjectURL(wavFile(this.soundOf(turn.id)));
    this.urls.push(url);
    const save = element("a", { href: url, download: `answer-${this.rows.size}.wav`, textContent: "Save" });
    save.setAttribute("aria-label", `Save as a sound file: ${label}`);
    const again = element("button", { type: "button", className: "link", textContent: "Hear again" });
    again.setAttribute("aria-label", `Hear again: ${label}`);
    again.addEventListener("click", () => new Audio(url).play());
    row.buttons.append(again, save);
  }
}
