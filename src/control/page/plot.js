// A drawing surface: scales, axes and marks in SVG, redrawn as a whole at the width there is.

import { svg } from "./dom.js";

const MARGIN = { top: 20, right: 12, bottom: 24, left: 50 };

/** Maps a range of values onto a range of pixels. */
export function linear([from, to], [start, end]) {
  const scale = (v) => start + ((v - from) / (to - from || 1)) * (end - start);
  return scale;
}

/** The same for their logarithms. */
export function logarithmic([from, to], range) {
  const scale = linear([Math.log10(from), Math.log10(to)], range);
  return (v) => scale(Math.log10(v));
}

/** Round values from 0 to just above `max`, about `wanted` of them. */
export function roundTicks(max, wanted) {
  const raw = Math.max(max, Number.MIN_VALUE) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
  return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, i) => i * step);
}

/** Round values around two for a logarithmic scale: 1, 2 and 5 of each power of ten, or only the powers of many. */
export function logTicks(min, max) {
  const from = Math.floor(Math.log10(min) - 1e-9);
  const to = Math.ceil(Math.log10(max) + 1e-9);
  const steps = to - from > 2 ? [1] : [1, 2, 5];
  const powers = Array.from({ length: to - from }, (_, at) => 10 ** (from + at));
  const all = powers.flatMap((power) => steps.map((n) => n * power)).concat([10 ** to]);
  const first = Math.max(0, all.findLastIndex((tick) => tick <= min));
  return all.slice(first, all.findIndex((tick) => tick >= max) + 1);
}

export class Plot {
  /** A drawing at the end of a figure. `onResize` is called when it has to be drawn anew. */
  constructor(figure, height, onResize) {
    this.height = height;
    this.node = svg("svg", { role: "img", class: "plot", height });
    this.holder = document.createElement("div");
    this.holder.className = "holder";
    this.holder.append(this.node);
    figure.querySelector("figcaption").after(this.holder);
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width !== this.width) {
        this.width = width;
        onResize();
      }
    }).observe(this.holder);
  }

  get area() {
    const { top, right, bottom, left } = MARGIN;
    return { x: [left, Math.max(left + 1, this.width - right)], y: [this.height - bottom, top] };
  }

  /** Starts a new drawing; `commit` shows it. */
  begin() {
    this.marks = [];
    this.node.setAttribute("viewBox", `0 0 ${Math.max(1, this.width)} ${this.height}`);
  }

  add(name, attributes, ...children) {
    this.marks.push(svg(name, attributes, ...children));
  }

  /** Horizontal lines with what they stand for at the left. */
  yAxis(ticks, scale, label) {
    const { x } = this.area;
    for (const tick of ticks) {
      const y = Math.round(scale(tick)) + 0.5;
      this.add("line", { x1: x[0], x2: x[1], y1: y, y2: y, class: "grid" });
      this.text(x[0] - 6, y + 4, label(tick), "end");
    }
  }

  /** What places along the bottom stand for. Labels that would touch the one before are left out. */
  xAxis(ticks, scale, label, lines = false) {
    const { x, y } = this.area;
    let free = -Infinity;
    for (const tick of ticks) {
      const at = Math.round(scale(tick)) + 0.5;
      if (lines) {
        this.add("line", { x1: at, x2: at, y1: y[0], y2: y[1], class: "grid" });
      }
      const text = label(tick);
      const half = text.length * 3.4;
      const middle = Math.min(Math.max(at, x[0] + half - 20), x[1] - half + 8);
      if (middle - half > free) {
        this.text(middle, y[0] + 16, text, "middle");
        free = middle + half + 6;
      }
    }
  }

  text(x, y, text, anchor = "start", kind = "") {
    this.add("text", { x, y, "text-anchor": anchor, class: kind }, text);
  }

  /** Lines through points [x, y] in pixels; a null parts them. With `floor` the space down to it is filled. */
  line(points, kind, floor = null) {
    const runs = [[]];
    for (const point of points) {
      if (point) {
        runs.at(-1).push(point);
      } else if (runs.at(-1).length > 0) {
        runs.push([]);
      }
    }
    for (const run of runs.filter((run) => run.length > 0)) {
      const path = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      if (floor !== null) {
        const [start, end] = [run[0], run.at(-1)].map(([x]) => `${x.toFixed(1)} ${floor}`);
        this.add("path", { d: `M${start}L${path}L${end}Z`, class: `fill ${kind}` });
      }
      this.add("path", { d: `M${path}`, class: `line ${kind}` });
    }
  }

  /** Shows the drawing, with what it says in words. */
  commit(words) {
    this.node.setAttribute("aria-label", words);
    this.node.replaceChildren(...this.marks);
  }

  /** Says that there is nothing to draw yet. */
  wait(words) {
    const { x, y } = this.area;
    this.begin();
    this.text((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, words, "middle");
    this.commit(words);
  }
}
