// The three charts. Each draws what the history holds and says it in words and as a table too.

import { byId, el, list, row, say, svg } from "./dom.js";
import { brief, bytes, count, millis, percent, span } from "./figures.js";
import { SHOWN_S } from "./history.js";
import { Plot, linear, logTicks, logarithmic, roundTicks } from "./plot.js";

/** Where "now" stands on the chart of the fill: what is left of it is past. */
const NOW_AT = 0.6;
/** Seconds of past shown at least; while there is more, whole minutes up to what is kept. */
const LEAST_S = 60;
/** Steps of a table's rows, in seconds. */
const TABLE_STEP_S = 15;
const LANE_KINDS = 4;
/** From 15 s to a year. */
const TIME_STEPS = [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200]
  .concat([1, 2, 7, 30, 90, 365.25].map((days) => days * 86400));
const YEAR_S = TIME_STEPS.at(-1);

/** What one chart needs: a plot, its legend, and a table for those who would rather read it. */
class Chart {
  constructor(id, height, headings, draw) {
    const figure = byId(id);
    this.headings = headings;
    this.draw = draw;
    this.plot = new Plot(figure, height, () => this.redraw());
    this.legend = figure.querySelector(".legend");
    const head = headings.map((heading) => el("th", { scope: "col", class: "n" }, heading));
    this.body = el("tbody");
    this.details = el("details", {}, el("summary", {}, "As a table"),
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), this.body)));
    this.details.addEventListener("toggle", () => this.tabulate());
    figure.append(this.details);
  }

  show(...seen) {
    this.seen = seen;
    this.redraw();
  }

  redraw() {
    if (this.seen && this.plot.width > 0) {
      this.rows = this.draw(this.plot, this.legend, ...this.seen);
      this.tabulate();
    }
  }

  tabulate() {
    if (!this.details.open || !this.rows) return;
    const numeric = this.headings.map((_, at) => at);
    list(this.body, this.rows.entries(), ([at]) => at, () => row(this.headings, numeric), (tr, [, cells]) => {
      cells.forEach((cell, at) => say(tr.cells[at], cell));
    });
  }
}

export const rateChart = () => new Chart("rate", 200, ["Ago", "In, rows/s", "Stored, rows/s"], drawRate);
export const batchChart = () => new Chart("batches", 230, ["Lane", "Rows", "Took"], drawBatches);
export const fillChart = () => new Chart("fill", 230, ["Ago", "Fill"], drawFill);

function drawRate(plot, legend, history, now) {
  const samples = history.samples;
  explain(legend, [["a", "in"], ["b", "stored in the database"]]);
  if (samples.length < 2) {
    plot.wait("a few seconds, please");
    return [];
  }
  plot.begin();
  const { x, y } = plot.area;
  const shown = reach(samples, now);
  const across = linear([-shown, 0], x);
  const most = Math.max(1, ...samples.map((sample) => Math.max(sample.rows ?? 0, sample.stored ?? 0)));
  const ticks = roundTicks(most * 1.05, 4);
  const up = linear([0, ticks.at(-1)], y);
  plot.yAxis(ticks, up, brief);
  plot.xAxis(pastTicks(shown), across, pastLabel);
  const points = (name) => samples.map((sample) =>
    (sample[name] === null || sample.at < now - shown ? null : [across(sample.at - now), up(sample[name])]));
  plot.line(points("rows"), "a", y[0]);
  plot.line(points("stored"), "b");
  const { rows, stored } = samples.at(-1);
  plot.commit(rows === null ? "Rate: not known at the moment"
    : `Rate over the last ${span(shown)}: ${count(rows)} rows a second come in now, ${count(stored)} are stored; `
      + `the most was ${count(most)}`);
  return every(samples, now).map(({ at, rows, stored }) => [span(now - at), known(rows, count), known(stored, count)]);
}

function drawBatches(plot, legend, history, all) {
  const flushes = history.flushes;
  const lanes = all.filter((lane) => lane.flushes > 0);
  const several = lanes.length > 1;
  const named = lanes.slice(0, LANE_KINDS);
  explain(legend, [...named.map(({ lane }) => [`dot ${kindOf(lane)}`, several ? `lane ${lane}` : "a flush"]),
    ["model", "the model's line"]]);
  if (flushes.length === 0) {
    plot.wait("no flush seen yet");
    return [];
  }
  plot.begin();
  const { x, y } = plot.area;
  const ticks = (figures, least) => logTicks(Math.max(least, Math.min(...figures) / 1.5), Math.max(...figures) * 1.5);
  const xTicks = ticks(flushes.map((flush) => flush.rows), 1);
  const yTicks = ticks(flushes.map((flush) => flush.ms), 0.001);
  const [across, up] = [logarithmic([xTicks[0], xTicks.at(-1)], x), logarithmic([yTicks[0], yTicks.at(-1)], y)];
  plot.yAxis(yTicks, up, millis);
  plot.xAxis(xTicks, across, (n) => `${brief(n)}${n === xTicks.at(-1) ? " rows" : ""}`, true);
  flushes.forEach(({ lane, rows, ms }, at) => {
    const opacity = (0.25 + 0.65 * (at + 1) / flushes.length).toFixed(2);
    plot.marks.push(dot(lane, across(rows), up(ms), { opacity }));
  });
  for (const { lane, fixed_ms: fixed, per_row_us: perRow } of lanes) {
    const points = modelLine(xTicks, yTicks, fixed, perRow);
    plot.line(points.map(([rows, ms]) => [across(rows), up(ms)]), `model ${kindOf(lane)}`);
  }
  plot.commit(`Batch size and latency: ${describe(lanes)}`);
  return flushes.slice(-30).reverse().map(({ lane, rows, ms }) => [String(lane), count(rows), millis(ms)]);
}

/** Where the model's line runs within the axes. */
function modelLine(xTicks, yTicks, fixedMs, perRowUs) {
  const steps = 60;
  const [low, high] = [Math.log10(xTicks[0]), Math.log10(xTicks.at(-1))];
  const points = Array.from({ length: steps + 1 }, (_, at) => {
    const rows = 10 ** (low + ((high - low) * at) / steps);
    return [rows, fixedMs + (perRowUs * rows) / 1000];
  });
  return points.filter(([, ms]) => ms >= yTicks[0] && ms <= yTicks.at(-1));
}

const describe = (lanes) => lanes.map((lane) =>
  `lane ${lane.lane}: the last flush took ${millis(lane.last_ms)} for ${count(lane.last_rows)} rows, the model says `
  + `${millis(lane.fixed_ms)} and ${millis(lane.per_row_us / 1000)} a row`).join("; ");

const kindOf = (lane) => `lane${lane % LANE_KINDS}`;

/** Lanes differ in shape as well as in colour. */
const SHAPES = [
  "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0",
  "M-3 -3h6v6h-6z",
  "M0 -4L3.8 3H-3.8z",
  "M0 -4L4 0L0 4L-4 0z",
];

function dot(lane, x, y, attributes = {}) {
  const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
  return svg("path", { d: SHAPES[lane % LANE_KINDS], transform, class: `dot ${kindOf(lane)}`, ...attributes });
}

function drawFill(plot, legend, history, now, status) {
  const { forecast, ring } = status;
  const samples = history.samples.filter((sample) => sample.fill !== null && sample.at >= now - SHOWN_S);
  explain(legend, [["a", "so far"], ["ahead", "at the present rates"]]);
  if (samples.length === 0) {
    plot.wait("the ring is being recovered");
    return [];
  }
  plot.begin();
  const { x, y } = plot.area;
  const middle = x[0] + (x[1] - x[0]) * NOW_AT;
  const ahead = outlook(forecast, ring, samples.at(-1).fill);
  const most = Math.max(...samples.map((sample) => sample.fill), ...ahead.points.map(([, fill]) => fill));
  const ticks = most > 0.5 ? [0, 0.25, 0.5, 0.75, 1] : roundTicks(Math.max(most * 1.15, 0.01), 4);
  const up = linear([0, ticks.at(-1)], y);
  const shown = reach(samples, now);
  const past = linear([-shown, 0], [x[0], middle]);
  const future = linear([0, ahead.until], [middle, x[1]]);
  plot.add("rect", { x: middle, y: y[1], width: Math.max(0, x[1] - middle), height: y[0] - y[1], class: "ahead" });
  plot.yAxis(ticks, up, percent);
  const some = pastTicks(shown).filter((_, at, all) => at % Math.ceil(all.length / 3) === 0 && at < all.length - 1);
  plot.xAxis(some, past, pastLabel);
  plot.xAxis(ahead.ticks, future, (s) => (s === 0 ? "now" : `+${span(s)}`));
  plot.line(samples.map((sample) => [past(sample.at - now), up(sample.fill)]), "a", y[0]);
  plot.line(ahead.points.map(([s, fill]) => [future(s), up(fill)]), "ahead");
  const end = ahead.points[ahead.at];
  if (ahead.label) {
    const place = [future(end[0]), up(end[1])];
    plot.add("circle", { cx: place[0], cy: place[1], r: 4, class: `end ${ahead.kind}` });
    plot.text(Math.min(place[0] + 24, x[1]), place[1] - 9, ahead.label, "end", `strong ${ahead.kind}`);
  }
  plot.commit(`Ring fill: ${percent(samples.at(-1).fill)} of ${bytes(ring.size_bytes)}; ${forecast.sentence}`);
  return every(samples, now).map((sample) => [span(now - sample.at), percent(sample.fill)]);
}

/** The line from now on: where it goes, how far it is shown, and what stands at its end. */
function outlook(forecast, ring, fill) {
  const { full_in_s: full, drained_in_s: drained, backlog_bytes: backlog } = forecast;
  if (full !== null && full !== undefined) {
    const until = Math.max(60, full * 1.15);
    const points = full > 0 ? [[0, fill], [full, 1]] : [[0, 1], [until, 1]];
    const label = full > 0 ? `full in ${span(full)}` : "full";
    return { until, points, at: 1, label, kind: "bad", ticks: timeTicks(until) };
  }
  if (drained > 1 && backlog > 0) {
    const until = Math.max(60, drained * 1.3);
    const low = Math.max(0, fill - backlog / ring.size_bytes);
    const points = [[0, fill], [drained, low], [until, low]];
    return { until, points, at: 1, label: `drained in ${span(drained)}`, kind: "good", ticks: timeTicks(until) };
  }
  return { until: 300, points: [[0, fill], [300, fill]], at: 1, label: null, ticks: timeTicks(300) };
}

function timeTicks(until) {
  const step = TIME_STEPS.find((step) => until / step <= 3) ?? Math.ceil(until / 3 / YEAR_S) * YEAR_S;
  return Array.from({ length: Math.floor(until / step) + 1 }, (_, at) => at * step);
}

/** Seconds of past that a chart shows. */
function reach(samples, now) {
  return Math.min(SHOWN_S, Math.max(LEAST_S, Math.ceil((now - samples[0].at) / 60) * 60));
}

function pastTicks(shown) {
  const step = shown <= 60 ? 15 : 60;
  return Array.from({ length: shown / step + 1 }, (_, at) => at * step - shown);
}

const pastLabel = (s) => (s === 0 ? "now" : `−${s % 60 === 0 ? `${-s / 60} min` : `${-s} s`}`);

const known = (n, as) => (n === null ? "–" : as(n));

/** One sample a step, the newest first. */
function every(samples, now) {
  const picked = [];
  for (const sample of samples.slice().reverse()) {
    if (picked.length === 0 || picked.at(-1).at - sample.at >= TABLE_STEP_S - 0.5) {
      picked.push(sample);
    }
  }
  return picked.filter((sample) => now - sample.at <= SHOWN_S);
}

/** What the lines and dots mean. */
function explain(legend, entries) {
  list(legend, entries, ([kind]) => kind, ([kind, text]) => {
    const [form, lane] = kind.split(" ");
    const line = () => svg("path", { d: "M1 6H21", class: `line ${kind}` });
    const sample = form === "dot" ? dot(Number(lane.at(-1)), 11, 6) : line();
    const drawing = svg("svg", { viewBox: "0 0 22 12", width: 22, height: 12, "aria-hidden": "true" }, sample);
    return el("span", { class: "key" }, drawing, el("span", {}, text));
  }, (key, [, text]) => say(key.lastChild, text));
}
