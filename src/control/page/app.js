// The page: asks for the status once a second and shows it, and says so when nobody answers.

import { batchChart, fillChart, rateChart } from "./charts.js";
import { byId, mark, say } from "./dom.js";
import { Feed } from "./feed.js";
import { span } from "./figures.js";
import { History } from "./history.js";
import { LatestTable } from "./latest.js";
import { showStatus } from "./state.js";

const PERIOD_MS = 1000;

const history = new History();
const latest = new LatestTable();
const [rate, batches, fill] = [rateChart(), batchChart(), fillChart()];
let lastSeen = null;
let paused = false;

const status = new Feed({ target: () => "/v1/status", period: PERIOD_MS, take, fail });

function take(answer) {
  const now = performance.now() / 1000;
  const restarted = history.last && history.last.status.pid !== answer.pid;
  history.take(answer, now);
  showStatus(answer, history.rates);
  rate.show(history, now);
  batches.show(history, answer.flush.lanes);
  fill.show(history, now, answer);
  latest.expect(answer.latest.series);
  if (lastSeen === null || restarted) {
    latest.feed.now();
  }
  lastSeen = new Date();
  byId("away").hidden = true;
  link(paused ? "paused" : "live", paused ? "wait" : "good");
}

function fail(error, pause) {
  link("away", "bad");
  const shown = lastSeen ? ` What is shown is from ${lastSeen.toLocaleTimeString("en-GB")}.` : "";
  // A refusal comes with a reason; without an answer the browser's error says nothing a person needs.
  const silent = error instanceof TypeError || error.name === "AbortError";
  const why = silent ? "The daemon does not answer" : `The daemon says: ${error.message}`;
  say(byId("away"), `${why}; trying again every ${span(pause / 1000)}.${shown}`);
  byId("away").hidden = false;
}

function link(word, state) {
  say(byId("link"), word);
  mark(byId("link"), "data-state", state);
  mark(document.body, "data-link", word);
}

function pause() {
  paused = !paused;
  mark(byId("pause"), "aria-pressed", String(paused));
  status.pause(paused);
  latest.feed.pause(paused);
  link(paused ? "paused" : "connecting", "wait");
}

byId("pause").addEventListener("click", pause);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "p") {
    pause();
  }
});

status.now();
