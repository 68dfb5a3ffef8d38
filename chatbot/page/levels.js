/** Two moving waveforms: what the microphone hears and what the answer sounds like. */

const COLUMN = 4; // CSS pixels of one bar and its gap
const GAIN = 1.6; // speech seldom fills the whole range

export class Level {
  /** @param {HTMLCanvasElement} canvas @param {() => AnalyserNode | null} analyser */
  constructor(canvas, analyser) {
    Object.assign(this, { canvas, analyser });
    this.heights = [];
    this.samples = new Float32Array(1024);
  }

  /** The peak of the newest samples, 0 to 1. */
  peak() {
    const analyser = this.analyser();
    if (!analyser) return 0;
    analyser.getFloatTimeDomainData(this.samples);
    let peak = 0;
    for (const sample of this.samples) peak = Math.max(peak, Math.abs(sample));
    return Math.min(1, GAIN * Math.sqrt(peak) * 0.75);
  }

  /** @param {boolean} isStill one bar that grows, instead of a picture that moves */
  draw(isStill) {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const colour = getComputedStyle(canvas).color;
    const peak = this.peak();
    const look = `${width} ${height} ${colour} ${isStill}`;
    const isBlank = peak === 0 && !this.heights.some(Boolean);
    if (isBlank && look === this.look) return; // nothing moves
    this.look = isBlank ? look : null;
    const paint = canvas.getContext("2d");
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, width, height);
    paint.fillStyle = colour;
    if (isStill) {
      paint.fillRect(0, height / 2 - 3, Math.max(2, peak * width), 6);
      return;
    }
    const count = Math.floor(width / COLUMN);
    while (this.heights.length < count) this.heights.unshift(0);
    this.heights.push(peak);
    this.heights.splice(0, this.heights.length - count);
    this.heights.forEach((bar, i) => {
      const tall = Math.max(2, bar * height);
      paint.fillRect(i * COLUMN, (height - tall) / 2, COLUMN - 2, tall);
    });
  }
}

/** Draw `levels` for as long as the page is seen. @param {Level[]} levels */
export function animate(levels) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const frame = () => {
    for (const level of levels) level.draw(still.matches);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}
