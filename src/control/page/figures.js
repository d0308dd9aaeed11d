// Figures as people read them.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });

/** 12345 → "12,345". */
export const count = (n) => (Number.isFinite(n) ? whole.format(n) : "–");

/** 12345 → "12.3 k". */
export function brief(n) {
  if (!Number.isFinite(n)) {
    return "–";
  }
  const size = Math.abs(n);
  if (size >= 1e9) return `${short.format(n / 1e9)} G`;
  if (size >= 1e6) return `${short.format(n / 1e6)} M`;
  if (size >= 1e4) return `${short.format(n / 1e3)} k`;
  return size >= 100 ? whole.format(n) : short.format(n);
}

/** Bytes in KiB, MiB, GiB. */
export function bytes(n) {
  if (!Number.isFinite(n)) {
    return "–";
  }
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${short.format(n)} ${units[at]}`;
}

/** A share from 0 to 1. */
export function percent(share) {
  if (!Number.isFinite(share)) {
    return "–";
  }
  return `${share > 0 && share < 0.1 ? trim(share * 100) : Math.round(share * 100)} %`;
}

/** Seconds in the unit that fits. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${trim(seconds / 3600)} h`;
  if (seconds < 63072000) return `${trim(seconds / 86400)} days`;
  return seconds < 3155760000 ? `${trim(seconds / 31557600)} years` : "more than 100 years";
}

const trim = (n) => n.toFixed(1).replace(/\.0$/, "");

/** Milliseconds or microseconds as a span of three figures. */
export function millis(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms >= 1000) return `${short.format(ms / 1000)} s`;
  return ms >= 1 || ms === 0 ? `${short.format(ms)} ms` : `${short.format(ms * 1000)} µs`;
}

/** A field's value. */
export function value(v) {
  if (v === null) return "not a number";
  return typeof v === "number" && !Number.isInteger(v) ? String(Number(v.toPrecision(9))) : String(v);
}

/** "1 entry", "2 entries". */
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
