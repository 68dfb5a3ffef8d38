/** The response times: of the last answer, the median of all, and a small picture of the last ones. */

const SHOWN = 24;

/** @param {number | null} value @returns {string} */
const seconds = (value) => (value === null ? "–" : `${value.toFixed(2)} s`);

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Readout {
  /** @param {(id: string) => HTMLElement} find */
  constructor(find) {
    this.find = find;
    this.measured = [];
    this.gaps = 0;
  }

  /** @param {Measurement} measurement */
  add(measurement) {
    this.measured.push(measurement.sound);
    this.find("latency").textContent = seconds(measurement.sound);
    this.find("first-text").textContent = seconds(measurement.text);
    this.find("first-voice").textContent = seconds(measurement.voice);
    this.find("count").textContent = String(this.measured.length);
    this.find("median").textContent = seconds(median(this.measured));
    this.#draw(this.measured.slice(-SHOWN));
  }

  starved() {
    this.gaps++;
    this.find("gaps").textContent = this.gaps === 1 ? "once" : `${this.gaps} times`;
  }

  #draw(values) {
    const most = Math.max(...values);
    const step = 120 / SHOWN;
    const bars = values.map((value, i) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const height = Math.max(1, (30 * value) / most);
      for (const [name, size] of Object.entries({ x: i * step, y: 32 - height, width: step - 1.5, height }))
        bar.setAttribute(name, size);
      return bar;
    });
    this.find("history").replaceChildren(...bars);
  }
}
