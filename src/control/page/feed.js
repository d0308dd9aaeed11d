// Asks one target again and again: once a period, less often while that fails or takes long, not at all while nobody looks.

const TIMEOUT_MS = 5000;
const LONGEST_PAUSE_MS = 5000;
/** A request that takes a while is repeated after so many times as long at the earliest. */
const REST = 10;

export class Feed {
  /** `target` gives what to ask for; `take` gets each answer; `fail` gets what went wrong and the pause until the next attempt. */
  constructor({ target, period, take, fail = () => {} }) {
    Object.assign(this, { target, period, take, fail });
    this.failures = 0;
    this.paused = false;
    this.turn = 0;
    document.addEventListener("visibilitychange", () => this.now());
  }

  /** Asks at once, and a period after that again. */
  now() {
    clearTimeout(this.timer);
    // An answer still under way belongs to an earlier turn and is let go.
    this.turn += 1;
    this.request?.abort();
    if (!document.hidden && !this.paused) {
      this.ask(this.turn);
    }
  }

  pause(paused) {
    this.paused = paused;
    this.now();
  }

  async ask(turn) {
    const request = new AbortController();
    this.request = request;
    const timeout = setTimeout(() => request.abort(), TIMEOUT_MS);
    const began = performance.now();
    let pause;
    try {
      const response = await fetch(this.target(), { signal: request.signal, cache: "no-store" });
      const answer = await response.json();
      if (turn !== this.turn) return;
      if (!response.ok && response.status !== 404) {
        throw new Error(answer.detail ?? `status ${response.status}`);
      }
      this.failures = 0;
      pause = Math.max(this.period, REST * (performance.now() - began));
      this.take(answer, response.ok);
    } catch (error) {
      if (turn !== this.turn) return;
      pause = Math.min(this.period * 2 ** this.failures, LONGEST_PAUSE_MS);
      this.failures += 1;
      this.fail(error, pause);
    } finally {
      clearTimeout(timeout);
    }
    this.timer = setTimeout(() => this.now(), pause);
  }
}
