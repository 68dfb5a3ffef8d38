/** Asks for the server's key. It stays in memory, or in the tab's session where the user wants that. */

const SLOT = "speechweave-key";

export class KeyDialog {
  /** @param {(id: string) => HTMLElement} find */
  constructor(find) {
    this.dialog = find("key-dialog");
    this.field = find("key");
    this.reason = find("key-reason");
    this.keep = find("keep-key");
    this.dialog.addEventListener("cancel", (event) => event.preventDefault()); // nothing works without a key
    this.dialog.addEventListener("close", () => this.#done());
  }

  /** The key kept from before in this tab, or "". */
  kept() {
    try {
      return sessionStorage.getItem(SLOT) ?? "";
    } catch {
      return "";
    }
  }

  /** @param {string} reason why the last key was refused, or "" @returns {Promise<string>} */
  ask(reason) {
    this.reason.textContent = reason;
    this.field.value = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.field.focus();
    return new Promise((resolve) => (this.resolve = resolve));
  }

  #done() {
    const key = this.field.value.trim();
    try {
      if (this.keep.checked) sessionStorage.setItem(SLOT, key);
      else sessionStorage.removeItem(SLOT);
    } catch {
      // storage is forbidden: the key lives in memory
    }
    this.resolve(key);
  }
}
