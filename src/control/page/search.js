// What is typed into the search, and which series it means. Pure.

/** Words, and name=value terms. */
export function parse(text) {
  const words = [];
  const terms = [];
  for (const part of text.trim().split(/\s+/).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at > 0) {
      terms.push([part.slice(0, at), part.slice(at + 1)]);
    } else {
      words.push(part.toLowerCase());
    }
  }
  return { words, terms };
}

/** The terms as a query of /v1/latest, whose values are exact. The last of a name counts. */
export function query({ terms }, limit) {
  const parameters = new Map();
  for (const [name, value] of terms.filter(([, value]) => value !== "")) {
    parameters.set(name === "table" ? "table" : `symbol.${name}`, value);
  }
  return new URLSearchParams([...parameters, ["limit", limit]]).toString();
}

/** Whether a series has every word somewhere in it and every term's value at the beginning of what it names. */
export function matches(series, { words, terms }) {
  const symbol = (name) => Object.entries(series.symbols).find(([have]) => fold(have) === fold(name))?.[1];
  const begins = ([name, value]) => (name === "table" ? fold(series.table).startsWith(fold(value)) : symbol(name)?.startsWith(value));
  return terms.every(begins)
    && (words.length === 0 || words.every((word) => haystack(series).includes(word)));
}

/** A name of a table or symbol, the same for all its spellings (docs/names.md). */
const fold = (name) => [...name].map((c) => (c === "\u0130" ? "i" : c.toLowerCase())).join("");

function haystack(series) {
  series.text ??= [series.table, ...Object.entries(series.symbols).flat(), ...Object.keys(series.fields), series.state,
    series.stale ? "stale" : ""].join("\n").toLowerCase();
  return series.text;
}

/** A name that tells series apart. */
export const identity = (series) => JSON.stringify([series.table, series.symbols]);

const natural = new Intl.Collator("en", { numeric: true });
const STATES = ["memory", "durable", "refused", "stored"];

/** The order of series by `what`: series, age or state. */
export function order(what, descending) {
  const name = (series) => (series.name ??= [series.table, ...Object.values(series.symbols)].join(" "));
  const byName = (a, b) => natural.compare(name(a), name(b));
  const compare = {
    series: byName,
    age: (a, b) => a.age_ms - b.age_ms || byName(a, b),
    state: (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || byName(a, b),
  }[what];
  return descending ? (a, b) => compare(b, a) : compare;
}
