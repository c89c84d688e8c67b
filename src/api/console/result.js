// One answer: what was predicted, where it came from, and where its time went.

import { timings } from "./api.js";
import { el, pairs, table } from "./dom.js";
import { millis, number, percent, span } from "./format.js";
import { stageBar } from "./stages.js";

// Values of a list that are shown; the others are counted.
const MOST_VALUES = 200;
const MOST_BARS = 50;

// What is shown of an answer of /v1/predict.
export function showResult({ data, headers, seenMs }) {
  const { stages, total } = timings(headers);
  return [
    el("div", { class: "answer" }, ...prediction(data.prediction), origin(data, headers)),
    el("h3", null, "Where the time went", el("span", { class: "figure" }, millis(total))),
    stages.length ? stageBar(stages, total) : el("p", { class: "note" }, "The server did not say."),
    pairs([
      ["Seen by this page", millis(seenMs)],
      ["Model", `${data.model} ${data.model_version}`],
      ["Provider", data.provider],
      [
        "Request",
        el("a", { href: `#/requests/${encodeURIComponent(data.id)}`, id: "record-link" }, el("code", null, data.id)),
      ],
    ]),
  ];
}

// The same in one sentence, for those who listen.
export function inWords({ data, headers }) {
  const { label, labels, confidence } = data.prediction ?? {};
  const what = label
    ? `${label}, ${percent(confidence)}`
    : labels
      ? labels.join(", ") || "none of the labels"
      : "The answer is there";
  return `${what}. ${data.cached ? "From the cache" : "Computed"} in ${millis(timings(headers).total)}.`;
}

// Where the answer came from: the body says whether it was known, the headers where and since when.
function origin(data, headers) {
  const status = headers.get("Cache-Status") ?? "";
  const tier = /glassbox-(\w+); hit/.exec(status)?.[1];
  const age = Number(headers.get("Age"));
  const stored = status.includes("stored") ? "kept for the next time" : "";
  const collapsed = status.includes("collapsed") ? "together with an equal request" : "";
  const text = data.cached ? `From the cache${tier ? ` (${tier})` : ""}` : "Computed";
  const since =
    data.cached && headers.has("Age") ? `computed ${age < 1 ? "just now" : `${span(age)} ago`}` : stored + collapsed;
  return el(
    "p",
    { class: "origin", id: "origin", "data-cached": String(data.cached), title: status },
    el("strong", null, text),
    since,
  );
}

// The elements of what was predicted.
export function prediction(value) {
  if (value?.probabilities) {
    const head = value.labels
      ? [value.labels.join(", ") || "none"]
      : [value.label ?? "no label", el("span", { class: "figure" }, percent(value.confidence))];
    return [
      el("p", { class: "label", id: "label" }, ...head),
      bars(value.probabilities, value.labels ?? [value.label]),
    ];
  }
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    return Object.entries(value).map(([name, part]) =>
      el("div", { class: "named" }, el("h3", null, name), tensor(part)),
    );
  }
  return [tensor(value)];
}

function bars(probabilities, named) {
  const sorted = Object.entries(probabilities).sort(([, a], [, b]) => (b ?? -1) - (a ?? -1));
  const rows = sorted.slice(0, MOST_BARS).map(([label, share]) => {
    const bar = el("span", { class: "bar" });
    bar.style.inlineSize = `${Math.max(0, share ?? 0) * 100}%`;
    return el(
      "li",
      { class: named.includes(label) ? "best" : null },
      el("span", { class: "name" }, label),
      el("span", { class: "track", "aria-hidden": "true" }, bar),
      el("span", { class: "figure" }, percent(share, 2)),
    );
  });
  const rest = sorted.length - rows.length;
  return el(
    "div",
    null,
    el("ol", { class: "bars", "aria-label": "Probabilities" }, rows),
    rest > 0 && el("p", { class: "note" }, `and ${rest} less probable ones`),
  );
}

// A number large, a list as a grid, a matrix as a table, anything deeper as it came.
function tensor(value) {
  if (!Array.isArray(value)) return el("p", { class: "label" }, cell(value));
  if (value.length === 1 && !Array.isArray(value[0])) return el("p", { class: "label" }, cell(value[0]));
  if (value.every((item) => !Array.isArray(item))) return grid(value);
  const matrix = value.every(
    (row) => Array.isArray(row) && row.length <= 12 && row.every((item) => !Array.isArray(item)),
  );
  if (matrix && value.length <= 50) {
    const head = ["", ...value[0].map((_, index) => String(index))];
    return el(
      "div",
      { class: "wide" },
      table(
        "Values",
        head,
        value.map((row, index) => [String(index), ...row.map(cell)]),
        [...head.keys()].slice(1),
      ),
    );
  }
  const text = JSON.stringify(value);
  return el("pre", null, text.length > 4000 ? `${text.slice(0, 4000)} …` : text);
}

function grid(values) {
  const items = values
    .slice(0, MOST_VALUES)
    .map((value, index) => el("li", null, el("span", { class: "index" }, String(index)), cell(value)));
  const rest = values.length - items.length;
  return el(
    "div",
    null,
    el("ol", { class: "values", "aria-label": "Values" }, items),
    rest > 0 && el("p", { class: "note" }, `and ${number(rest)} more`),
  );
}

const cell = (value) =>
  typeof value === "number" ? number(value, 6) : value === null ? "not a number" : String(value);
