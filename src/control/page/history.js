// What the page has seen of the last minutes: levels once a status, and the flushes it caught.

/** Seconds shown. */
export const SHOWN_S = 300;
/** Flushes kept, over all lanes. */
const MAX_FLUSHES = 400;
/** A pause longer than this between two statuses leaves a gap. */
const GAP_S = 10;

export class History {
  constructor() {
    /** { at, rows, stored, fill }: seconds of the page's clock, rows a second, a share; rows and stored are null across a gap. */
    this.samples = [];
    /** { lane, rows, ms }, the newest last. */
    this.flushes = [];
    this.lanes = new Map();
    this.last = null;
  }

  /** Takes in a status at a time of the page's clock. */
  take(status, at) {
    const last = this.last;
    // The daemon's own clock says how long it took to count so much; it goes back when another process counts.
    const elapsed = last ? status.uptime_s - last.status.uptime_s : 0;
    const goesOn = last && status.pid === last.status.pid && elapsed > 0 && at - last.at < GAP_S;
    const rate = (name) => (goesOn ? Math.max(0, status.ledger[name] - last.status.ledger[name]) / elapsed : null);
    if (last && elapsed > 0 && elapsed < 0.2) {
      return;
    }
    this.samples.push({ at, rows: rate("rows"), stored: rate("stored"), fill: status.ring?.fill ?? null });
    while (this.samples[0].at < at - SHOWN_S - GAP_S) {
      this.samples.shift();
    }
    if (last && status.pid !== last.status.pid) {
      this.lanes.clear();
    }
    for (const lane of status.flush.lanes) {
      this.flush(lane);
    }
    this.last = { status, at };
  }

  /** The newest flush of a lane, where there has been one since. */
  flush({ lane, flushes, last_rows: rows, last_ms: ms }) {
    if (flushes > (this.lanes.get(lane) ?? 0) && rows > 0 && ms > 0) {
      this.flushes.push({ lane, rows, ms });
      this.flushes.splice(0, this.flushes.length - MAX_FLUSHES);
    }
    this.lanes.set(lane, flushes);
  }

  /** The newest rates, null while they are not known. */
  get rates() {
    return this.samples.at(-1) ?? { rows: null, stored: null };
  }
}
