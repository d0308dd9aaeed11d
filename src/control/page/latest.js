// The table of latest values.

import { byId, el, list, mark, row, say } from "./dom.js";
import { Feed } from "./feed.js";
import { count, span, value } from "./figures.js";
import { identity, matches, order, parse, query } from "./search.js";

/** Series asked for at a time. */
const LISTED = 1000;
/** Rows shown at first, and more at each "show more". */
const ROWS = 25;
const PERIOD_MS = 2000;
const MAX_FIELDS = 12;
const TYPING_MS = 250;

const HEADINGS = ["Series", "Values", "Age", "State"];

export class LatestTable {
  constructor() {
    this.body = byId("latest").tBodies[0];
    this.search = byId("search");
    this.found = byId("found");
    this.more = byId("more");
    this.answer = { series: [], truncated: false };
    this.known = false;
    this.total = 0;
    this.shown = ROWS;
    this.sort = { by: "series", descending: false };
    this.asked = parse("");
    this.feed = new Feed({
      target: () => `/v1/latest?${query(this.filter(), LISTED)}`,
      period: PERIOD_MS,
      take: (answer, some) => this.take(some ? answer : { series: [], truncated: false }),
    });
    this.listen();
  }

  listen() {
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.ask(), TYPING_MS);
    });
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.search.value = "";
        this.ask();
      }
    });
    this.more.addEventListener("click", () => {
      this.shown += ROWS;
      this.render();
    });
    for (const button of document.querySelectorAll("#latest [data-sort]")) {
      button.addEventListener("click", () => this.sortBy(button));
    }
  }

  /** How many series the daemon holds: whether a listing can have them all. */
  expect(total) {
    this.total = total;
  }

  /** What the daemon is to choose by: all that can be said exactly, where it holds more than it is asked to list. */
  filter() {
    return this.total > LISTED ? this.asked : parse("");
  }

  ask() {
    this.asked = parse(this.search.value);
    this.shown = ROWS;
    this.render();
    if (this.total > LISTED) {
      this.feed.now();
    }
  }

  sortBy(button) {
    const by = button.dataset.sort;
    this.sort = { by, descending: this.sort.by === by && !this.sort.descending };
    for (const heading of document.querySelectorAll("#latest th[aria-sort]")) {
      mark(heading, "aria-sort", "none");
    }
    mark(button.closest("th"), "aria-sort", this.sort.descending ? "descending" : "ascending");
    this.render();
  }

  take(answer) {
    this.answer = answer;
    this.known = true;
    this.render();
  }

  render() {
    const found = this.answer.series.filter((series) => matches(series, this.asked));
    found.sort(order(this.sort.by, this.sort.descending));
    const shown = found.slice(0, this.shown);
    list(this.body, shown, identity, make, update);
    this.more.hidden = found.length <= shown.length;
    say(this.more, `Show ${count(Math.min(ROWS, found.length - shown.length))} more of ${count(found.length)}`);
    if (this.known) {
      say(this.found, this.sentence(found.length));
    }
  }

  sentence(found) {
    const listed = this.answer.series.length;
    if (this.answer.truncated) {
      return `${count(found)} among ${count(listed)} of ${count(this.total)} series; `
        + "name=value, whole, has the daemon choose";
    }
    if (this.total === 0) {
      return "no reading yet";
    }
    return `${count(found)} of ${count(Math.max(this.total, listed))} series`;
  }
}

function make(series) {
  const tr = row(HEADINGS, [2]);
  const symbols = Object.entries(series.symbols).map(([name, text]) =>
    el("span", { class: "symbol" }, el("span", { class: "soft" }, `${name}=`), text));
  tr.cells[0].append(el("b", {}, series.table), ...symbols);
  tr.cells[1].append(el("span", { class: "values" }));
  tr.cells[2].append(el("time"));
  const stale = el("span", { class: "pill", "data-state": "warn" }, "stale");
  tr.cells[3].append(el("span", {}, el("span", { class: "pill" }), " ", stale));
  return tr;
}

function update(tr, series) {
  const fields = Object.entries(series.fields);
  const values = tr.cells[1].firstChild;
  list(values, fields.slice(0, MAX_FIELDS), ([name]) => name, makeField, (field, [name, v]) => {
    say(field.lastChild, value(v));
    const older = series.field_times?.[name];
    mark(field, "title", older ? `as of ${older}` : null);
  });
  mark(values, "data-more", fields.length > MAX_FIELDS ? `and ${fields.length - MAX_FIELDS} more` : null);
  const time = tr.cells[2].firstChild;
  say(time, span(series.age_ms / 1000));
  mark(time, "datetime", series.time);
  mark(time, "title", `${series.time}, received ${series.received}`);
  const [state, stale] = tr.cells[3].firstChild.children;
  say(state, series.state);
  mark(state, "data-state", series.state);
  stale.hidden = !series.stale;
}

function makeField([name]) {
  return el("span", { class: "field" }, el("span", { class: "soft" }, name), " ", el("span", { class: "value" }));
}
