/** The two drawings: all trajectories, and how one generation went. */

import uPlot from "../uplot/uPlot.js";

const HEIGHT = 360;

/** @returns {(name: string) => string} a colour of the page, as it is now */
function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

const TONE = { flagged: "flagged", clear: "clear", unmonitored: "unseen" };

/** A drawing that fills its element, follows its width and the colours of the page, and can be drawn anew. */
class Drawing {
  /** @param {HTMLElement} home */
  constructor(home) {
    this.home = home;
    this.plot = null;
    this.draw = () => {};
    new ResizeObserver(() => this.plot?.setSize({ width: this.home.clientWidth, height: HEIGHT })).observe(home);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /**
   * @param {(colour: (name: string) => string) => [Partial<uPlot.Options>, uPlot.AlignedData]} make
   */
  show(make) {
    this.draw = () => {
      this.plot?.destroy();
      const [options, data] = make(colours());
      this.plot = new uPlot({ width: this.home.clientWidth, height: HEIGHT, legend: { show: false }, ...options }, data, this.home);
    };
    this.draw();
  }
}

/** Cells are whole. */
const WHOLE = { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] };

/** Room of the tick numbers of a vertical axis, in CSS pixels: the widest must not reach the label. */
function widest(plot, texts, index, cycle) {
  const own = plot.axes[index];
  // Later rounds of the layout must not change it, or the layout never settles.
  if (cycle > 1) return own._size;
  plot.ctx.font = own.font[0];
  const widths = (texts ?? []).map((text) => plot.ctx.measureText(text ?? "").width / devicePixelRatio);
  return Math.ceil(Math.max(...widths, 24) + own.ticks.size + own.gap);
}

const axis = (colour, label, more = {}) => ({
  label,
  labelSize: 24,
  labelGap: 4,
  size: 36,
  stroke: colour("quiet"),
  grid: { stroke: colour("rule"), width: 1 },
  ticks: { stroke: colour("rule"), width: 1 },
  font: "13px system-ui, 'Liberation Sans', sans-serif",
  labelFont: "13px system-ui, 'Liberation Sans', sans-serif",
  ...more,
});

/** All trajectories of a file; a click picks the nearest one. */
export class Paths extends Drawing {
  /**
   * @param {HTMLElement} home
   * @param {(row: number) => void} pick
   */
  constructor(home, pick) {
    super(home);
    this.pick = pick;
  }

  /**
   * @param {{ row: number, status: string, values: (number | null)[] }[]} lines  in the order in which they are drawn
   * @param {number | null} chosen  row to draw on top
   * @param {string} label  of the vertical axis
   */
  update(lines, chosen, label) {
    const cells = lines[0]?.values.length ?? 1;
    const last = lines.filter(({ row }) => row === chosen);
    const order = [...lines.filter(({ row }) => row !== chosen), ...last];
    const faint = order.length > 40 ? "66" : order.length > 12 ? "99" : "cc";
    this.show((colour) => [
      {
        scales: { x: { time: false }, y: label === "sigma" ? { range: [-0.02, 1.02] } : {} },
        axes: [axis(colour, "cell of the step grid", WHOLE), axis(colour, label, { size: widest })],
        cursor: { focus: { prox: 24 }, drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
        focus: { alpha: 0.4 },
        series: [
          {},
          ...order.map(({ row, status }) => {
            const tone = colour(TONE[status]);
            const [stroke, width] = row === chosen ? [tone, 3] : [`${tone}${chosen === null ? faint : "44"}`, 1.5];
            return { stroke, width, points: { show: cells === 1 }, spanGaps: false };
          }),
        ],
        hooks: {
          ready: [(plot) => plot.over.addEventListener("click", () => {
            const at = plot.series.findIndex((series, i) => i > 0 && series._focus);
            if (at > 0) this.pick(order[at - 1].row);
          })],
        },
      },
      [Array.from({ length: cells }, (_, t) => t), ...order.map(({ values }) => values)],
    ]);
  }
}

/** How suspicious one generation was after each cell. */
export class Course extends Drawing {
  /**
   * @param {(number | null)[]} scores  null = could not be scored
   * @param {number} threshold
   */
  update(scores, threshold) {
    const alarm = scores.findIndex((score) => score !== null && score > threshold);
    const cells = scores.map((_, t) => t);
    this.show((colour) => [
      {
        scales: { x: { time: false } },
        axes: [axis(colour, "newest cell", WHOLE), axis(colour, "standardised score", { size: widest })],
        cursor: { drag: { x: false, y: false } },
        series: [
          {},
          { stroke: colour("ink"), width: 2, points: { show: scores.length < 2 } },
          { stroke: colour("flagged"), width: 1.5, dash: [6, 5], points: { show: false } },
          { stroke: colour("flagged"), width: 0, points: { show: true, size: 11, fill: colour("flagged") } },
        ],
      },
      [cells, scores, cells.map(() => threshold), cells.map((t) => (t === alarm ? scores[t] : null))],
    ]);
  }
}
