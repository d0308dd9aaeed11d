// What a status says, outside the charts.

import { byId, el, list, mark, row, say } from "./dom.js";
import { brief, bytes, count, millis, percent, plural, span } from "./figures.js";

/** Shows a status; `rates` are rows a second since the one before. */
export function showStatus(status, rates) {
  say(byId("about"), `${status.version}, up ${span(status.uptime_s)}`);
  warnings(status.warnings ?? []);
  outage(status);
  tiles(status, rates);
  broker(status.broker, status.acks_wait_for);
  database(status.flush);
  ledger(status.ledger);
  lanes(status.flush.lanes);
  quarantine(status.flush.quarantine);
  sources(status.sources);
  say(byId("forecast"), status.forecast.sentence);
}

function warnings(all) {
  const section = byId("warnings");
  section.hidden = all.length === 0;
  list(section.querySelector("ul"), all, (warning) => warning, (warning) => el("li", {}, warning), () => {});
}

/** In an outage: that nothing is lost where that is so, how many rows wait, and for how long there is room. */
function outage({ flush, ring, ledger, forecast, lag_s: lag }) {
  // A suspended table has a warning of its own: its rows wait in QuestDB.
  const isAway = !["", "ok", "slow", "connecting", "suspended"].includes(flush.database);
  const notice = byId("outage");
  notice.hidden = !isAway;
  if (!isAway) {
    return;
  }
  const isWhole = ring && !ring.full && !ring.poisoned && !ring.halted && ledger.dropped === 0;
  const waiting = plural(pendingOf(ledger), "row waits", "rows wait");
  const age = lag > 0 ? `, the oldest for ${span(lag)}` : "";
  const left = forecast.full_in_s;
  const room = left >= 1 ? `; there is room for ${span(left)} more` : "";
  const what = `${isWhole ? "Nothing is lost: " : ""}${waiting} in the ring${age}${room}.`;
  say(notice, `QuestDB is ${flush.database}. ${what}`);
}

const BROKER = { connected: "good", connecting: "warn", subscribing: "warn", stopped: "bad" };
const DATABASE = { ok: "good", unreachable: "bad", refused: "bad" };

/** [heading, value, small print, state] each. */
function tiles({ broker, flush, ring, ledger, forecast, rates: over }, rates) {
  const connections = broker.connects > 0 ? plural(broker.connects, "connection", "connections") : "";
  const rate = rates.rows ?? over.rows_per_s;
  const stored = rates.stored ?? over.stored_per_s;
  const entries = [
    ["In", `${brief(rate)} rows/s`, `${brief(over.messages_per_s)} messages/s`],
    ["Stored", `${brief(stored)} rows/s`, `${brief(ledger.stored)} rows so far`],
    ["Waiting", `${brief(pendingOf(ledger))} ${pendingOf(ledger) === 1 ? "row" : "rows"}`, bytes(forecast.backlog_bytes)],
    ring ? ["Ring", percent(ring.fill), `of ${bytes(ring.size_bytes)}`, ring.poisoned || ring.full ? "bad" : null]
      : ["Ring", "recovering", "", "warn"],
    setAside(flush.quarantine),
    ["Broker", broker.state, connections, BROKER[broker.state] ?? "bad"],
    ["Database", flush.database, flush.delivery, DATABASE[flush.database] ?? "warn"],
  ];
  list(byId("tiles"), entries, ([name]) => name, ([name]) =>
    el("div", { class: "tile" }, el("dt", {}, name), el("dd", { class: "big" }), el("dd", { class: "soft small" })),
  (tile, [, big, small, state]) => {
    say(tile.children[1], big);
    say(tile.children[2], small);
    mark(tile, "data-state", state ?? null);
  });
}

function setAside({ entries, reasons }) {
  const why = reasons.length > 0 ? reasons[0][0] : "";
  return ["Set aside", count(entries), entries > 0 ? why : "nothing is wrong", entries > 0 ? "warn" : null];
}

/** Pairs of names and values; those without a value are left out. */
function facts(parent, pairs) {
  const holder = parent.firstElementChild ?? parent.appendChild(el("dl", { class: "facts" }));
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  list(holder, known, ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (pair, [, value, state]) => {
      say(pair.lastChild, value);
      mark(pair, "data-state", state ?? null);
    });
}

function broker(state, acksWaitFor) {
  const latency = state.ack_latency_us ?? {};
  facts(byId("broker"), [
    ["State", state.state, BROKER[state.state] ?? "bad"],
    ["Error", state.error, "bad"],
    ["Acknowledged", `${count(state.acknowledged)} messages, once ${acksWaitFor}`],
    ["Unacknowledged", count(state.unacknowledged)],
    ["Held while the ring is full", state.held > 0 ? count(state.held) : null, "warn"],
    ["QoS 0 dropped", state.qos0_dropped > 0 ? count(state.qos0_dropped) : null, "warn"],
    ["Time to PUBACK", quantiles(latency)],
    ["Connections", `${count(state.connects)}, ${count(state.sessions_resumed)} resumed`],
  ]);
}

function quantiles({ p50, p99 }) {
  return Number.isFinite(p50) ? `p50 ${millis(p50 / 1000)}, p99 ${millis(p99 / 1000)}` : null;
}

function database(flush) {
  const sum = (name) => flush.lanes.reduce((total, lane) => total + lane[name], 0);
  facts(byId("database"), [
    ["State", flush.database, DATABASE[flush.database] ?? "warn"],
    ["Error", flush.error, "bad"],
    ["What to do", flush.advice],
    ["Delivery", flush.delivery],
    ["Flushes", `${count(sum("flushes"))}, ${count(sum("failures"))} failed`],
    ["Rows sent", `${count(sum("rows_sent"))}, those sent again included`],
    ["Rewinds", count(sum("rewinds"))],
  ]);
}

function ledger(all) {
  facts(byId("ledger"), [
    ["Messages", count(all.messages)],
    ["Dead letters", count(all.dead_letters), all.dead_letters > 0 ? "warn" : null],
    ["Rows", count(all.rows)],
    ["= pending", count(pendingOf(all))],
    ["+ stored", count(all.stored)],
    ["+ quarantined", count(all.quarantined), all.quarantined > 0 ? "warn" : null],
    ["+ dropped", count(all.dropped), all.dropped > 0 ? "bad" : null],
    ["+ coalesced", count(all.coalesced)],
  ]);
}

/** Rows whose fate is open. */
const pendingOf = (all) => all.rows - all.stored - all.quarantined - all.dropped - all.coalesced;

const LANES = ["Lane", "Batch", "Linger", "Last flush", "Flushes", "Breaker", "Why"];
const BREAKER = { closed: "good", "half-open": "warn", open: "bad" };

function lanes(all) {
  list(byId("lanes").tBodies[0], all, (lane) => lane.lane, () => {
    const tr = row(LANES, [1, 2, 3, 4]);
    tr.cells[5].append(el("span", { class: "pill" }));
    return tr;
  }, (tr, lane) => {
    const limit = lane.batch_rows > 1e12 ? "no limit" : plural(lane.batch_rows, "row", "rows");
    const last = lane.last_rows > 0 ? `${count(lane.last_rows)} in ${millis(lane.last_ms)}` : "–";
    const flushes = lane.failures > 0 ? `${count(lane.flushes)}, ${count(lane.failures)} failed` : count(lane.flushes);
    const texts = [String(lane.lane), limit, millis(lane.linger_ms), last, flushes];
    texts.forEach((text, at) => say(tr.cells[at], text));
    say(tr.cells[5].firstChild, lane.breaker);
    mark(tr.cells[5].firstChild, "data-state", BREAKER[lane.breaker] ?? "warn");
    say(tr.cells[6], lane.reason);
  });
}

function quarantine({ entries, bytes: size, pushed_out: pushedOut, reasons, advice = {} }) {
  const lost = pushedOut > 0 ? `; ${plural(pushedOut, "older entry", "older entries")} pushed out` : "";
  const held = entries > 0 ? `${plural(entries, "entry", "entries")}, ${bytes(size)}` : "empty";
  say(byId("quarantine"), held + lost);
  byId("reasons").hidden = reasons.length === 0;
  list(byId("reasons").tBodies[0], reasons, ([reason]) => reason, ([reason]) => {
    const tr = row(["Reason", "Entries"], [1]);
    tr.cells[0].append(el("span", {}, reason));
    if (Object.hasOwn(advice, reason)) {
      tr.cells[0].append(el("p", { class: "advice soft small" }, advice[reason]));
    }
    return tr;
  }, (tr, [, n]) => say(tr.cells[1], count(n)));
}

const SOURCES = ["Source", "Messages", "Rows", "Dead letters", "Refused rows", "Last"];

function sources(all) {
  const now = Date.now();
  list(byId("sources").tBodies[0], all, (source) => source.name, (source) => {
    const tr = row(SOURCES, [1, 2, 3, 4]);
    tr.cells[0].append(el("b", {}, source.name), " ", el("span", { class: "soft" }, source.topic));
    return tr;
  }, (tr, source) => {
    const { messages, rows, dead_letters: letters, refused_rows: refused } = source;
    [messages, rows, letters, refused].forEach((n, at) => say(tr.cells[at + 1], count(n)));
    mark(tr.cells[3], "data-state", letters > 0 ? "warn" : null);
    mark(tr.cells[4], "data-state", refused > 0 ? "warn" : null);
    const ago = source.last_received ? Math.max(0, now - Date.parse(source.last_received)) / 1000 : null;
    say(tr.cells[5], `${ago === null ? "never" : `${span(ago)} ago`}${source.silent ? " (silent)" : ""}`);
    mark(tr.cells[5], "data-state", source.silent ? "warn" : null);
  });
}
