/** The two drawings: all trajectories, and how one generation went. */

import uPlot from "../uplot/uPlot.js";

/** CSS pixels. */
const HEIGHT = 360;
/** Where several drawings stand below each other. */
const LOW = 240;

/** @returns {(name: string) => string} a colour of the page, as it is now */
function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

const TONE = { flagged: "flagged", clear: "clear", unmonitored: "unseen" };

/** A drawing that fills its element, follows its width and the colours of the page, and can be drawn anew. */
class Drawing {
  /**
   * @param {HTMLElement} home
   * @param {number} [height]
   */
  constructor(home, height = HEIGHT) {
    this.home = home;
    this.height = height;
    this.plot = null;
    this.draw = () => {};
    const follow = new ResizeObserver(() => this.plot?.setSize({ width: this.home.clientWidth, height }));
    const [scheme, draw] = [matchMedia("(prefers-color-scheme: dark)"), () => this.draw()];
    follow.observe(home);
    scheme.addEventListener("change", draw);
    this.release = () => {
      follow.disconnect();
      scheme.removeEventListener("change", draw);
      this.plot?.destroy();
    };
  }

  /**
   * @param {(colour: (name: string) => string) => [Partial<uPlot.Options>, uPlot.AlignedData]} make
   */
  show(make) {
    this.draw = () => {
      this.plot?.destroy();
      const [options, data] = make(colours());
      this.plot = new uPlot({ width: this.home.clientWidth, height: this.height, legend: { show: false }, ...options }, data, this.home);
    };
    this.draw();
  }
}

/** Cells are whole. */
const WHOLE = { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] };

/** Room of the tick numbers of a vertical axis, in CSS pixels: the widest must not reach the label. */
function widest(plot, texts, index, cycle) {
  const own = plot.axes[index];
  plot.ctx.font = own.font[0];
  const widths = (texts ?? []).map((text) => plot.ctx.measureText(text ?? "").width / devicePixelRatio);
  const needed = Math.ceil(Math.max(...widths, 24) + own.ticks.size + own.gap);
  // Later rounds of the layout may have longer numbers. They must not take room away, or the layout never settles.
  return cycle > 1 ? Math.max(own._size, needed) : needed;
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
class Course extends Drawing {
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

/** The same for each part of a guard, below each other: their scores have no common unit. */
export class Courses {
  /** @param {HTMLElement} home */
  constructor(home) {
    this.home = home;
    /** @type {Course[]} */
    this.drawn = [];
    this.names = "";
  }

  /** @param {{ name: string, scores: (number | null)[], threshold: number }[]} parts  one without a name stands alone */
  update(parts) {
    const names = parts.map(({ name }) => name).join();
    if (!this.drawn.length || names !== this.names) this.#begin(parts);
    this.names = names;
    parts.forEach(({ name, scores, threshold }, k) => {
      const course = this.drawn[k];
      const title = course.home.previousElementSibling;
      if (name && title) {
        course.home.hidden = scores.every((score) => score === null);
        title.textContent = course.home.hidden ? `${name}: no cell could be scored` : name;
      }
      course.update(scores, threshold);
    });
  }

  /** @param {{ name: string }[]} parts */
  #begin(parts) {
    for (const one of this.drawn) one.release();
    this.home.replaceChildren();
    this.drawn = parts.map(({ name }) => {
      const [title, plot] = ["h3", "div"].map((tag) => document.createElement(tag));
      plot.className = "plot";
      this.home.append(...(name ? [title] : []), plot);
      return new Course(plot, parts.length > 1 ? LOW : HEIGHT);
    });
  }
}
