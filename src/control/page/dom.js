// Elements. Whatever comes from outside becomes text or an attribute's value here, never markup.

const SVG = "http://www.w3.org/2000/svg";

// What is not seen, or turns the order of other characters round.
const HARMFUL = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** The text with characters that are not to be shown as they are written out. */
function plain(text) {
  return String(text).replace(HARMFUL, (c) => (c === "\n" ? c : `\\u{${c.codePointAt(0).toString(16)}}`));
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : plain(value));
    }
  }
  element.append(...children.map((child) => (typeof child === "string" ? plain(child) : child)));
  return element;
}

/** Sets an element's text where it differs, so that nothing is repainted or read out for nothing. */
export function say(element, text) {
  const shown = plain(text);
  if (element.textContent !== shown) {
    element.textContent = shown;
  }
}

/** Sets or, with null, removes an attribute. */
export function mark(element, name, value) {
  if (value === null) {
    element.removeAttribute(name);
  } else if (element.getAttribute(name) !== plain(value)) {
    element.setAttribute(name, plain(value));
  }
}

/**
 * Makes a parent's children those of `items`, keeping the elements of keys that stay, so that focus and selection stay too.
 * `make` builds one, `update` brings one up to date.
 */
export function list(parent, items, key, make, update) {
  const kept = new Map();
  for (const child of parent.children) {
    kept.set(child.listKey, child);
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = kept.get(name);
    if (child) {
      kept.delete(name);
    } else {
      child = make(item);
      child.listKey = name;
    }
    update(child, item);
    if (child === at) {
      at = at.nextElementSibling;
    } else {
      parent.insertBefore(child, at);
    }
  }
  for (const child of kept.values()) {
    child.remove();
  }
}

/** A row of so many cells, each under its heading's name for narrow screens. */
export function row(headings, numeric = []) {
  const cells = headings.map((heading, at) =>
    el("td", { role: "cell", "data-label": heading, class: numeric.includes(at) ? "n" : null }));
  return el("tr", { role: "row" }, ...cells);
}
