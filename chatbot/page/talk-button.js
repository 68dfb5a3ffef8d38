/**
 * Push to talk: hold the button or the space bar, or tap once to start and once more to send (for those who cannot hold,
 * and for screen readers, which only click).
 *
 * Events: `begin`, `end`, `drop` (Escape, or the hold was lost).
 */

const TAP = 300; // milliseconds; a shorter press latches
const OWN_SPACE = "input, textarea, select, button, a, summary, [contenteditable]"; // elements with a use for the space bar

export class TalkButton extends EventTarget {
  /** @param {HTMLButtonElement} button */
  constructor(button) {
    super();
    this.button = button;
    this.isTalking = false;
    this.isLatched = false;
    button.addEventListener("pointerdown", (event) => event.button === 0 && this.#press(event));
    button.addEventListener("pointerup", () => this.#release());
    button.addEventListener("pointercancel", () => this.drop());
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    button.addEventListener("click", (event) => event.detail === 0 && this.#click()); // no pointer: screen reader, Enter
    document.addEventListener("keydown", (event) => this.#keyDown(event));
    document.addEventListener("keyup", (event) => this.#keyUp(event));
    window.addEventListener("blur", () => !this.isLatched && this.drop());
  }

  #press(event) {
    this.button.setPointerCapture(event.pointerId);
    this.#down();
  }

  #down() {
    if (this.button.disabled) return;
    if (this.isTalking) {
      this.#end(); // the second tap
      return;
    }
    this.pressedAt = performance.now();
    this.isTalking = true;
    this.dispatchEvent(new Event("begin"));
  }

  #release() {
    if (!this.isTalking || this.isLatched) return;
    if (performance.now() - this.pressedAt < TAP) this.isLatched = true;
    else this.#end();
  }

  #click() {
    if (this.isTalking) this.#end();
    else {
      this.#down();
      this.isLatched = this.isTalking;
    }
  }

  #end() {
    this.isTalking = this.isLatched = false;
    this.dispatchEvent(new Event("end"));
  }

  /** Forget the turn that began. */
  drop() {
    if (!this.isTalking) return;
    this.isTalking = this.isLatched = false;
    this.dispatchEvent(new Event("drop"));
  }

  #isSpace(event) {
    if (event.code !== "Space" || event.ctrlKey || event.altKey || event.metaKey) return false;
    return event.target === this.button || !event.target.closest?.(OWN_SPACE);
  }

  #keyDown(event) {
    if (event.key === "Escape") this.drop();
    if (!this.#isSpace(event) || document.querySelector("dialog[open]")) return;
    event.preventDefault(); // neither scroll nor click
    if (!event.repeat) this.#down();
  }

  #keyUp(event) {
    if (!this.#isSpace(event)) return;
    event.preventDefault();
    this.#release();
  }
}
