// What was predicted, as the server keeps it: filters, a page at a time, and all that is known of one row.

import { get } from "./api.js";
import { byId, el, pairs, put } from "./dom.js";
import { millis, number, percent, short } from "./format.js";
import { clear, show } from "./notice.js";
import { prediction } from "./result.js";

const FILTERS = {
  model: "past-model",
  version: "past-version",
  label: "past-label",
  key: "past-key",
  min_confidence: "past-least",
  max_confidence: "past-most",
  cached: "past-cached",
};
const MOMENTS = { since: "past-since", until: "past-until" };

let asking = null;
// The filters of what is shown, and where its next page begins.
let asked = null;
let next = null;

export function start() {
  byId("past").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  // The fields are empty only after this event.
  byId("past").addEventListener("reset", () => setTimeout(load));
  byId("past-older").addEventListener("click", older);
}

// Shows the latest predictions, or one by its id.
export function open(id) {
  if (id) return one(id);
  byId("past").reset();
}

const load = () =>
  ask(async (signal) => {
    asked = wanted();
    begin();
    const { data } = await get(`v1/predictions?${asked}`, { signal });
    put(byId("predictions"));
    append(data);
    if (!data.predictions.length) put(byId("predictions"), el("p", { class: "empty" }, "None, with these filters."));
  });

const older = () =>
  ask(async (signal) => {
    const query = new URLSearchParams(asked);
    query.set("cursor", next);
    append((await get(`v1/predictions?${query}`, { signal })).data);
  });

const one = (id) =>
  ask(async (signal) => {
    begin();
    const { data } = await get(`v1/predictions/${encodeURIComponent(id)}`, { signal });
    put(byId("predictions"));
    append({ predictions: [data], next: null });
    for (const details of byId("predictions").querySelectorAll("details")) details.open = true;
  });

// What is asked for now begins with its first page.
function begin() {
  next = null;
  byId("past-older").hidden = true;
}

// One call at a time: the last one counts.
async function ask(call) {
  asking?.abort();
  const { signal } = (asking = new AbortController());
  try {
    await call(signal);
    clear(byId("history-notice"));
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.code === "prediction_not_found" || problem.status !== 404) return fail(problem);
    const why = "This server keeps no history: the setting history.mode is off.";
    clear(byId("history-notice"));
    put(byId("predictions"), el("p", { class: "empty", id: "no-history" }, why));
  }
}

function fail(problem) {
  // What is there stays there when only what follows it does not come.
  if (!next) put(byId("predictions"));
  show(byId("history-notice"), problem);
}

function wanted() {
  const query = new URLSearchParams();
  for (const [name, field] of Object.entries(FILTERS)) {
    const value = byId(field).value.trim();
    if (value) query.set(name, value);
  }
  for (const [name, field] of Object.entries(MOMENTS)) {
    // As the clock of who looks at it says.
    const moment = new Date(byId(field).value);
    if (!Number.isNaN(moment.valueOf())) query.set(name, moment.toISOString());
  }
  return query;
}

// Rows under the day on which they came.
function append({ predictions, next: following }) {
  for (const row of predictions) {
    const day = new Date(row.time).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
    let section = byId("predictions").lastElementChild;
    if (section?.dataset.day !== day) {
      section = el("section", { "data-day": day }, el("h2", null, day));
      byId("predictions").append(section);
    }
    section.append(entry(row));
  }
  next = following;
  byId("past-older").hidden = !next;
}

function entry(row) {
  const inside = el("div", { class: "inside" });
  // Only what is looked at is drawn.
  const fill = () => inside.childElementCount || put(inside, answer(row), facts(row));
  return el(
    "details",
    { class: "record", "data-id": row.id, ontoggle: fill },
    el(
      "summary",
      null,
      el("time", { datetime: row.time }, new Date(row.time).toLocaleTimeString("en-GB")),
      el("span", { class: "note", title: row.cached ? "From the cache" : "Computed" }, row.cached ? "↺" : ""),
      el(
        "span",
        { class: "what" },
        short(row.label ?? inShort(row.prediction), 60),
        el("span", { class: "note" }, `${row.model} ${row.model_version}`),
      ),
      el("span", { class: "note sure" }, row.confidence === null ? "" : percent(row.confidence)),
      el("span", { class: "figure" }, millis(row.latency_ms)),
    ),
    inside,
  );
}

function inShort(value) {
  if (value === null) return "too long to be kept";
  if (value.labels) return value.labels.join(", ") || "none of the labels";
  return typeof value === "number" ? number(value, 6) : JSON.stringify(value);
}

function answer(row) {
  return el(
    "div",
    { class: "answer" },
    row.prediction === null
      ? el("p", { class: "empty" }, "It was longer than history.value_limit.")
      : prediction(row.prediction),
    row.input !== undefined && [el("h3", null, "Input"), el("pre", null, short(inText(row.input), 4000))],
  );
}

const inText = (input) => (typeof input === "string" ? input : JSON.stringify(input));

function facts(row) {
  const code = (text) => text && el("code", { title: text }, short(text, 40));
  return pairs([
    ["When", new Date(row.time).toLocaleString("en-GB")],
    ["Prediction", el("a", { href: `#/history/${encodeURIComponent(row.id)}` }, code(row.id))],
    ["Request", el("a", { href: `#/requests/${encodeURIComponent(row.request_id)}` }, code(row.request_id))],
    ["Item of its batch", row.item === null ? null : number(row.item)],
    ["Trace", code(row.trace_id)],
    ["Key", code(row.key_id)],
    ["Model", `${row.model} ${row.model_version}`],
    ["Provider", row.provider],
    ["Origin", row.cached ? "From the cache" : "Computed"],
    ["Latency", millis(row.latency_ms)],
    ["Hash of the input", code(row.input_hash)],
  ]);
}
