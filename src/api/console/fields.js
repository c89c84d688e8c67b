// The fields of a form: a text, boxes for a few values, or a list that is typed as one.

import { el } from "./dom.js";
import { listOf, oneNumber } from "./values.js";

// Above this, values are typed as a list.
const MOST_BOXES = 24;

export function textField() {
  const area = el("textarea", {
    id: "text",
    rows: 4,
    spellcheck: "false",
    placeholder: "Type or paste a text",
    "aria-describedby": "text-fault",
  });
  // A half of a character, as a script can leave it, is no text that can be sent.
  const read = () => JSON.stringify(area.value.toWellFormed?.() ?? area.value);
  return field({ id: "text", pointer: "/text", title: el("label", { for: "text" }, "Text"), boxes: [area], read });
}

export function inputField({ id, pointer, spec, shape }) {
  const size = shape.every((dim) => dim >= 0) ? shape.reduce((product, dim) => product * dim, 1) : null;
  const dims = shape.map((dim) => (dim < 0 ? "any" : dim)).join(", ");
  const hint = shape.length ? `${spec.datatype} [${dims}]` : `${spec.datatype}, one value`;
  const isSmall = shape.length <= 1 && size > 0 && size <= MOST_BOXES;
  return isSmall ? boxesField(id, pointer, spec, hint, size, shape) : listField(id, pointer, spec, hint);
}

function boxesField(id, pointer, spec, hint, size, shape) {
  const box = (_, index) =>
    el("input", {
      id: `${id}-${index}`,
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": size > 1 ? `${spec.name}, value ${index + 1} of ${size}` : null,
      "aria-describedby": `${id}-fault`,
      onpaste: (event) => spec.datatype !== "BYTES" && spread(event, boxes, index),
    });
  const boxes = Array.from({ length: size }, box);
  const read = (tell) => {
    const values = boxes.map(({ value }) => oneNumber(value, spec.datatype));
    const wrong = values.findIndex(({ fault }) => fault);
    if (wrong >= 0) return tell(values[wrong].fault, String(wrong));
    return shape.length ? `[${values.map(({ json }) => json).join(",")}]` : values[0].json;
  };
  const many = size > 1;
  const title = many ? el("legend", null, spec.name) : el("label", { for: boxes[0].id }, spec.name);
  return field({ id, pointer, title, hint: many ? `${hint}, a list can be pasted` : hint, boxes, read });
}

// A list that is pasted into one box fills those after it too.
function spread(event, boxes, from) {
  const text = event.clipboardData.getData("text");
  const parts = text.split(/[\s,;[\]]+/).filter(Boolean);
  if (parts.length < 2) return;
  event.preventDefault();
  boxes.slice(from).forEach((box, index) => (box.value = parts[index] ?? box.value));
}

function listField(id, pointer, spec, hint) {
  const example = spec.datatype === "BYTES" ? '["one", "two"]' : "1, 2.5, -3   or   [[1, 2], [3, 4]]";
  const area = el("textarea", {
    id,
    rows: 3,
    spellcheck: "false",
    placeholder: example,
    "aria-describedby": `${id}-fault`,
  });
  const read = (tell) => {
    const { json, fault, at } = listOf(area.value, spec.datatype);
    return fault ? tell(fault, at) : json;
  };
  return field({ id, pointer, title: el("label", { for: id }, spec.name), hint, boxes: [area], read });
}

// What all fields have: a title, a line for what is wrong, and marks on the boxes that it is wrong with.
function field({ id, pointer, title, hint, boxes, read }) {
  const fault = el("p", { class: "fault", id: `${id}-fault` });
  const many = boxes.length > 1;
  // `at` is where in the value: "3", or "0/1" in a nested list.
  const tell = (text, at = "") => {
    const box = many ? boxes[Number.parseInt(at, 10)] : boxes[0];
    for (const one of box ? [box] : boxes) one.setAttribute("aria-invalid", "true");
    fault.textContent = at && (many || boxes[0].rows) ? `${place(at)}: ${text}` : text;
    return null;
  };
  const forget = () => {
    for (const one of boxes) one.removeAttribute("aria-invalid");
    fault.textContent = "";
  };
  const invalid = () => boxes.find((one) => one.hasAttribute("aria-invalid"));
  const inside = many ? el("div", { class: "boxes" }, boxes.map(numbered)) : boxes;
  const element = el(
    many ? "fieldset" : "div",
    { class: "field" },
    many ? title : el("div", { class: "title" }, title, hint && el("span", { class: "note" }, hint)),
    many && el("span", { class: "note" }, hint),
    inside,
    fault,
  );
  return {
    pointer,
    element,
    tell,
    forget,
    isFaulty: () => Boolean(invalid()),
    focus: () => (invalid() ?? boxes[0]).focus(),
    read: () => read(tell),
  };
}

const place = (at) =>
  `Value ${at
    .split("/")
    .map((part) => (/^\d+$/.test(part) ? Number(part) + 1 : part))
    .join(", ")}`;

const numbered = (box, index) =>
  el("div", { class: "box" }, el("span", { "aria-hidden": "true" }, String(index + 1)), box);
