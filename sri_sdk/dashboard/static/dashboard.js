"use strict";
// Draws the charts, and says when a page has grown old. Everything else is HTML and htmx.
(() => {
  const charts = new Map();

  // ---- charts -------------------------------------------------------------------------------------------------
  const colour = (name) => {
    // A custom property keeps light-dark() unresolved; a colour that is used does not.
    const probe = document.createElement("i");
    probe.style.color = `var(--c-${name}, var(--${name}))`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const faded = (rgb, share) => rgb.replace("rgb(", "rgba(").replace(")", `, ${share})`);

  const units = {
    count: (v) => (v === Math.round(v) ? v.toLocaleString("en") : v.toFixed(1)),
    share: (v) => (v === 0 || v >= 0.9995 ? `${Math.round(100 * v)} %` : `${Number((100 * v).toPrecision(3))} %`),
    seconds: (v) => (v < 1 ? `${Number((1000 * v).toPrecision(2))} ms` : `${v.toPrecision(2)} s`),
    sigma: (v) => v.toFixed(2),
    score: (v) => Number(v.toPrecision(3)).toString(),
  };

  const { day, clock, second, labels } = sriAxis;

  const plain = (points) => ({ paths: uPlot.paths.linear(), points: { show: points, size: 5 } });

  function seriesOf(spec) {
    const show = units[spec.unit];
    return spec.series.map((s) => {
      const ink = colour(s.tone);
      const value = (u, v, at, i) => (i === null || i === undefined || s.values[i] === null ? "" : show(s.values[i]));
      if (spec.kind === "points") {
        return { label: s.name, stroke: ink, fill: faded(ink, 0.5), paths: () => null, points: { show: true, size: 6, fill: faded(ink, 0.6), stroke: ink, width: 1 }, value };
      }
      // Bars are drawn below, each in its own place: layers of one above the other would shine through at their edges.
      if (spec.kind === "bars" || spec.kind === "stack") return { label: s.name, stroke: ink, fill: s.line ? undefined : ink, width: s.line ? 2 : 0, dash: s.line ? [4, 3] : undefined, points: { show: false }, value, paths: () => null };
      return { label: s.name, stroke: ink, width: 2, value, spanGaps: false, ...plain(spec.kind === "trajectory" ? spec.x.length < 40 : s.values.filter((v) => v !== null).length < 30) };
    });
  }

  function bars(spec) {
    const step = spec.x.length > 1 ? spec.x[1] - spec.x[0] : spec.together * 3600;
    const inks = spec.series.map((s) => colour(s.tone));
    return (u) => {
      const { ctx } = u;
      const x = (t) => Math.round(u.valToPos(t, "x", true)), y = (v) => Math.round(u.valToPos(v, "y", true));
      ctx.save();
      spec.x.forEach((t, i) => {
        const gap = Math.min(0.1 * step, step);
        const left = x(t + gap / 2), right = Math.max(x(t + step - gap / 2), left + 1);
        let below = 0;
        spec.series.forEach((s, k) => {
          const v = s.values[i];
          if (v === null || v === 0) return;
          ctx.fillStyle = ctx.strokeStyle = inks[k];
          if (s.line) {
            ctx.lineWidth = 2 * devicePixelRatio;
            ctx.setLineDash([5 * devicePixelRatio, 3 * devicePixelRatio]);
            ctx.beginPath(); ctx.moveTo(x(t), y(v)); ctx.lineTo(x(t + step), y(v)); ctx.stroke();
            return;
          }
          // A share too small for a pixel is still there.
          const top = Math.min(y(below + v), y(below) - devicePixelRatio);
          ctx.fillRect(left, top, right - left, y(below) - top);
          if (spec.kind === "stack") below += v;
        });
      });
      ctx.restore();
    };
  }

  function marks(spec) {
    return (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = colour("quiet");
      ctx.lineWidth = devicePixelRatio;
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      for (const mark of spec.marks ?? []) {
        const y = u.valToPos(mark.y, "y", true);
        ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
        ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
        ctx.textAlign = "right"; ctx.textBaseline = "bottom";
        ctx.fillText(mark.name, bbox.left + bbox.width - 4 * devicePixelRatio, y - 2 * devicePixelRatio);
      }
      if (spec.alarm) {
        const x = u.valToPos(spec.alarm, "x", true);
        ctx.strokeStyle = ctx.fillStyle = colour("flagged");
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.setLineDash([]);
        ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
        const right = x > bbox.left + bbox.width / 2;
        ctx.textAlign = right ? "right" : "left"; ctx.textBaseline = "top";
        ctx.fillText("first alarm", x + (right ? -6 : 6) * devicePixelRatio, bbox.top + 4 * devicePixelRatio);
      }
      ctx.restore();
    };
  }

  function draw(box) {
    const spec = JSON.parse(box.dataset.chart);
    if (!spec.x.length) { box.textContent = "Nothing in this time."; box.classList.add("empty"); return; }
    box.replaceChildren();
    const show = units[spec.unit];
    const cells = spec.kind === "trajectory";
    const quiet = colour("quiet"), rule = colour("rule");
    const axis = { stroke: quiet, grid: { stroke: rule, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const step = spec.x.length > 1 ? spec.x[1] - spec.x[0] : 3600;
    const barred = spec.kind === "bars" || spec.kind === "stack";
    const last = spec.x.at(-1) + (barred ? step : 0);
    const range = (u, low, high) => {
      if (spec.kind === "stack" || cells) return [0, 1];
      if (spec.kind === "bars") return [0, Math.max(high ?? 0, 1) * 1.1];
      const all = [low, high, ...(spec.marks ?? []).map((m) => m.y)].filter((v) => v !== null && v !== undefined);
      if (spec.log) return [Math.min(...all) / 1.5, Math.max(...all) * 1.5];
      const [a, b] = [Math.min(...all), Math.max(...all)], room = (b - a || Math.abs(b) || 1) * 0.1;
      return [a - room, b + room];
    };
    const wide = box.clientWidth, tall = box.classList.contains("tall") ? 280 : 220;
    const long = last - spec.x[0] > 3 * 86400;
    const chart = new uPlot({
      width: wide, height: tall, tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      padding: [8, 30, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 7 } },
      legend: { live: true },
      scales: { x: { time: !cells, range: () => (spec.x.length === 1 && !barred ? [spec.x[0] - 1, spec.x[0] + 1] : [spec.x[0], last]) }, y: { range, distr: spec.log ? 3 : 1 } },
      axes: [
        { ...axis, grid: { show: false }, space: 64, values: cells ? undefined : (u, splits) => labels(splits, long), incrs: cells ? [1, 2, 4, 8, 16, 32, 64, 128] : long ? [86400, 2 * 86400, 5 * 86400, 10 * 86400] : undefined },
        { ...axis, size: 58, incrs: spec.unit === "count" ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6, 1e7] : undefined, values: (u, splits) => splits.map((v) => (v === null ? "" : show(v))) },
      ],
      series: [{ label: cells ? "cell" : "UTC", value: (u, v) => (v === null || v === undefined ? "" : cells ? v : `${day(v)} ${(spec.kind === "points" ? second : clock)(v)}`) }, ...seriesOf(spec)],
      hooks: { drawAxes: barred ? [bars(spec)] : [], draw: [marks(spec)] },
    }, [spec.x, ...spec.series.map((s) => s.values)], box);
    charts.set(box, chart);
  }

  function drawAll(root) {
    for (const box of root.querySelectorAll("[data-chart]")) {
      if (!charts.has(box)) draw(box);
    }
    for (const [box, chart] of charts) {
      if (!box.isConnected) { chart.destroy(); charts.delete(box); }
    }
  }

  function again() {
    for (const [box, chart] of charts) { chart.destroy(); charts.delete(box); }
    drawAll(document);
  }

  // ---- age of the page ----------------------------------------------------------------------------------------
  const stale = () => document.getElementById("stale");
  let heard = Date.now();
  const hear = () => { heard = Date.now(); stale().hidden = true; };
  setInterval(() => {
    if (!document.querySelector("[hx-trigger^=every]") || Date.now() - heard < 20000) return;
    document.getElementById("stale-since").textContent = `${new Date(heard).toISOString().slice(11, 19)} UTC`;
    stale().hidden = false;
  }, 2000);

  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status ?? 0;
    if (status >= 200 && status < 400) hear();
    if (event.detail?.ctx?.request?.method === "POST") document.body.dispatchEvent(new CustomEvent("labelled"));
  });
  document.addEventListener("htmx:after:swap", () => {
    drawAll(document);
    const state = document.querySelector("[data-state]")?.dataset.state;
    const icon = document.querySelector("link[rel=icon]");
    const wanted = state && icon.href.replace(/icon-\w+\.svg.*/, `icon-${state}.svg`);
    if (wanted && !icon.href.startsWith(wanted)) icon.href = wanted;
  });

  let width = innerWidth, waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    // The bars of a telephone's browser come and go while it scrolls; only a new width counts.
    waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; again(); } }, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.addEventListener("toggle", () => drawAll(document), true);
  drawAll(document);
})();
