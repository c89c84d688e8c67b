// Makes elements. What comes from a server or a file only ever becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// The element with this id, which the page has.
export const byId = (id) => document.getElementById(id);

// el("p", { class: "note", onclick: f }, "text", element): null, undefined and false are left out everywhere.
export function el(name, properties, ...children) {
  return fill(document.createElement(name), properties, children);
}

// The same for SVG.
export function svg(name, properties, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Replaces what is inside of an element.
export function put(element, ...children) {
  element.replaceChildren(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

// A list of names and what belongs to them: [["Version", "1"], …]. Pairs without a value are left out.
export function pairs(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "dl",
    { class: "pairs" },
    known.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))),
  );
}

// A table from the texts of its head and the cells of its rows. `numeric` names the columns that hold numbers.
export function table(caption, head, rows, numeric = []) {
  const kind = (index) => (numeric.includes(index) ? "number" : null);
  return el(
    "table",
    null,
    el("caption", { class: "unseen" }, caption),
    el(
      "thead",
      null,
      el(
        "tr",
        null,
        head.map((text, index) => el("th", { scope: "col", class: kind(index) }, text)),
      ),
    ),
    el(
      "tbody",
      null,
      rows.map((row) =>
        el(
          "tr",
          null,
          row.map((cell, index) => el("td", { class: kind(index) }, cell)),
        ),
      ),
    ),
  );
}
