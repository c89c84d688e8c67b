// The slowest and the failed requests that the server remembers, without what was in them.

import { get } from "./api.js";
import { byId, el, pairs, put } from "./dom.js";
import { bytes, count, millis, number, short, words } from "./format.js";
import { clear, show } from "./notice.js";
import { stageBar, stageLine } from "./stages.js";

const LISTS = [
  ["slowest", "Slowest"],
  ["failed", "Failed"],
];

const FILTERS = {
  model: "filter-model",
  code: "filter-code",
  min_latency_ms: "filter-latency",
  request_id: "filter-id",
};

// More than a server keeps of all routes together: which of them are shown is chosen here.
const ALL = "500";
const SHOWN = 50;

let asking = null;

export function start() {
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  // The fields are empty only after this event.
  byId("filters").addEventListener("reset", () => setTimeout(load));
  byId("filter-others").addEventListener("change", load);
}

// Shows all, or one request by its id.
export function open(id) {
  byId("filters").reset();
  byId("filter-id").value = id ?? "";
}

async function load() {
  asking?.abort();
  const { signal } = (asking = new AbortController());
  const query = new URLSearchParams({ limit: ALL });
  for (const [name, field] of Object.entries(FILTERS))
    if (byId(field).value.trim()) query.set(name, byId(field).value.trim());
  try {
    const { data } = await get(`v1/debug/requests?${query}`, { signal });
    clear(byId("requests-notice"));
    put(byId("records"), content(data, query.get("request_id")));
  } catch (problem) {
    if (signal.aborted) return;
    put(byId("records"));
    show(byId("requests-notice"), problem);
  }
}

function content(data, id) {
  if (!id) return LISTS.map(([name, title]) => list(name, title, data[name].filter(isWanted)));
  const found = [...data.failed, ...data.slowest].find((record) => record.request_id === id);
  if (found) return entry(found, true);
  const why = "This request is not remembered: only the slowest of the last hour and the failed ones are.";
  return el("p", { class: "empty", id: "no-record" }, why);
}

// What operators ask for, this page among them, is rarely what is looked for.
const isWanted = ({ route }) => byId("filter-others").checked || route.startsWith("/v1/predict");

function list(name, title, records) {
  const shown = records.slice(0, SHOWN);
  const rest = records.length - shown.length;
  const note = rest > 0 ? `${SHOWN} of ${count(records.length, "request")}` : count(records.length, "request");
  return el(
    "section",
    { "data-list": name },
    el("h2", null, title, " ", el("span", { class: "note" }, note)),
    shown.length
      ? shown.map((record) => entry(record, false))
      : el("p", { class: "empty" }, "None, with these filters."),
  );
}

function entry(record, open) {
  const failed = record.status_code >= 400;
  const model = record.model ? `${record.model} ${record.model_version ?? ""}` : "";
  return el(
    "details",
    { class: "record", open, "data-id": record.request_id },
    el(
      "summary",
      null,
      el("time", { datetime: record.time }, new Date(record.time).toLocaleTimeString("en-GB")),
      el("span", { class: failed ? "status bad" : "status" }, String(record.status_code)),
      el(
        "span",
        { class: "what" },
        record.error_code ? words(record.error_code) : record.route,
        el("span", { class: "note" }, model),
      ),
      stageLine(stagesOf(record)),
      el("span", { class: "figure" }, millis(record.latency_ms)),
    ),
    el("div", { class: "inside" }, stageBar(stagesOf(record), record.latency_ms), facts(record)),
  );
}

const stagesOf = (record) =>
  Object.entries(record.stages ?? {}).flatMap(([name, ms]) => (ms === null ? [] : [{ name, ms }]));

function facts(record) {
  const code = (text) => text && el("code", { title: text }, short(text, 40));
  return pairs([
    ["When", new Date(record.time).toLocaleString("en-GB")],
    ["Request", code(record.request_id)],
    ["Trace", code(record.trace_id)],
    ["Route", `${record.method} ${record.route}`],
    ["Error", record.error_code && words(record.error_code)],
    ["Key", code(record.key_id)],
    ["Client", record.client],
    ["Model", record.model && `${record.model} ${record.model_version ?? ""}`],
    ["Provider", record.provider],
    ["Cache", record.cache],
    ["Items", record.batch_size && number(record.batch_size)],
    ["Shapes", record.shapes?.length ? record.shapes.map((shape) => `[${shape.join(", ")}]`).join(" ") : null],
    [
      "In and out",
      record.request_bytes === null || record.request_bytes === undefined
        ? null
        : `${bytes(record.request_bytes)}, ${bytes(record.response_bytes)}`,
    ],
  ]);
}
