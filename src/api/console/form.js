// The form of a model: one text, or one field per input, made from what the model declares.

import { el } from "./dom.js";
import { sentence } from "./format.js";
import { listOf, oneNumber } from "./values.js";

// Above this, a list is typed as a list.
const MOST_BOXES = 24;

// Whether a text is all that the model wants.
export const takesText = (model) => Boolean(model.text) && (Boolean(model.text.tokenizer) || model.inputs.length === 1);

// The shape of one item: what is left without the batch.
export const itemShape = (model, spec) => (model.batching.batch_dimension ? spec.shape.slice(1) : spec.shape);

// Returns { element, read, mark, clear }. `read` gives the JSON of the body's last member, or null after marking what
// cannot be sent; `mark` shows the errors of a problem at their fields and returns those that belong to none.
export function makeForm(model) {
  const fields = takesText(model) ? [textField()] : model.inputs.map((spec) => inputField(model, spec));
  const clear = () => fields.forEach((field) => field.tell(null));
  const mark = (errors) => {
    const rest = errors.filter(({ pointer, detail }) => {
      const place = fields.find((field) => pointer === field.pointer || pointer.startsWith(`${field.pointer}/`));
      place?.tell(sentence(detail), pointer.slice(place.pointer.length + 1));
      return !place;
    });
    fields.find((field) => field.faulty())?.focus();
    return rest.map(({ pointer, detail }) => (pointer ? `${pointer}: ${detail}` : sentence(detail)));
  };
  const read = () => {
    clear();
    const values = fields.map((field) => field.read());
    fields.find((field) => field.faulty())?.focus();
    if (values.includes(null)) return null;
    if (takesText(model)) return `"text":${values[0]}`;
    if (fields.length === 1) return `"input":${values[0]}`;
    return `"input":{${fields.map((field, index) => `${JSON.stringify(field.name)}:${values[index]}`).join(",")}}`;
  };
  return {
    element: el(
      "div",
      { class: "fields" },
      fields.map((field) => field.element),
    ),
    read,
    mark,
    clear,
  };
}

function textField() {
  const area = el("textarea", {
    id: "text",
    rows: 4,
    spellcheck: "false",
    "aria-describedby": "text-fault",
    placeholder: "Type or paste a text",
  });
  const read = () => JSON.stringify(area.value.toWellFormed?.() ?? area.value);
  return field({ name: "text", label: "Text", pointer: "/text", id: "text", boxes: [area], read });
}

function inputField(model, spec) {
  const shape = itemShape(model, spec);
  const size = shape.every((dim) => dim >= 0) ? shape.reduce((product, dim) => product * dim, 1) : null;
  const escaped = spec.name.replaceAll("~", "~0").replaceAll("/", "~1");
  // The server points into a list of named inputs by name, and into an only one directly.
  const place = {
    name: spec.name,
    label: spec.name,
    pointer: model.inputs.length === 1 ? "/input" : `/input/${escaped}`,
    id: `input-${model.inputs.indexOf(spec)}`,
  };
  const hint = `${spec.datatype} ${shape.length ? `[${shape.map((dim) => (dim < 0 ? "any" : dim)).join(", ")}]` : "one value"}`;
  const boxed = shape.length <= 1 && size !== null && size > 0 && size <= MOST_BOXES;
  return boxed ? boxesField(place, hint, spec, size, shape.length === 0) : listField(place, hint, spec);
}

function boxesField(place, hint, spec, size, scalar) {
  const boxes = Array.from({ length: size }, (_, index) =>
    el("input", {
      id: `${place.id}-${index}`,
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": `${spec.name}, value ${index + 1} of ${size}`,
      placeholder: String(index),
      "aria-describedby": `${place.id}-fault`,
      onpaste: (event) => spread(event, boxes, index),
    }),
  );
  const read = (tell) => {
    const values = boxes.map((box) => oneNumber(box.value, spec.datatype));
    const wrong = values.findIndex(({ fault }) => fault);
    if (wrong >= 0) return tell(values[wrong].fault, String(wrong));
    return scalar ? values[0].json : `[${values.map(({ json }) => json).join(",")}]`;
  };
  return field({ ...place, hint: `${hint} · a list can be pasted`, boxes, read });
}

// A list that is pasted into one box fills those after it too.
function spread(event, boxes, from) {
  const parts = event.clipboardData
    .getData("text")
    .replace(/^[[\s]+|[\]\s]+$/g, "")
    .split(/[\s,;]+/)
    .filter(Boolean);
  if (parts.length < 2) return;
  event.preventDefault();
  boxes.slice(from).forEach((box, index) => (box.value = parts[index] ?? box.value));
}

function listField(place, hint, spec) {
  const area = el("textarea", {
    id: place.id,
    rows: 3,
    spellcheck: "false",
    "aria-describedby": `${place.id}-fault`,
    placeholder: spec.datatype === "BYTES" ? '["one", "two"]' : "1, 2.5, -3   or   [[1, 2], [3, 4]]",
  });
  const read = (tell) => {
    const { json, fault, at } = listOf(area.value, spec.datatype);
    return fault ? tell(fault, at) : json;
  };
  return field({ ...place, hint, boxes: [area], read });
}

// What all fields have: a label, a place for what is wrong, and marks on the boxes that it is wrong with.
function field({ name, label, pointer, id, hint, boxes, read }) {
  const fault = el("p", { class: "fault", id: `${id}-fault` });
  const tell = (text, at = "") => {
    const box = boxes.length > 1 ? boxes[Number.parseInt(at, 10)] : boxes[0];
    if (!text) boxes.forEach((each) => each.removeAttribute("aria-invalid"));
    else (box ? [box] : boxes).forEach((each) => each.setAttribute("aria-invalid", "true"));
    const where =
      text && at !== "" && boxes.length === 1
        ? `At ${at}: `
        : text && at !== "" && box
          ? `Value ${Number.parseInt(at, 10) + 1}: `
          : "";
    fault.textContent = text ? where + text : "";
    return null;
  };
  const many = boxes.length > 1;
  const title = many ? el("legend", null, label) : el("label", { for: boxes[0].id }, label);
  const element = el(
    many ? "fieldset" : "div",
    { class: "field" },
    title,
    hint && el("span", { class: "note" }, hint),
    many ? el("div", { class: "boxes" }, boxes) : boxes,
    fault,
  );
  const faulty = () => boxes.some((box) => box.hasAttribute("aria-invalid"));
  const focus = () => (boxes.find((box) => box.hasAttribute("aria-invalid")) ?? boxes[0]).focus();
  return { name, pointer, element, tell, faulty, focus, read: () => read(tell) };
}
