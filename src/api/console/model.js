// Which models there are, which one is chosen, and everything that is known about it.

import { get } from "./api.js";
import { byId, el, pairs, put, table } from "./dom.js";
import { bytes, millis, number, percent, sentence, short, words } from "./format.js";
import { clear, show } from "./notice.js";

const listeners = [];
let models = [];
let chosen = null;

// The description of the chosen model; null while there is none.
export const current = () => chosen;

// All names, for filters.
export const names = () => models.map(({ name }) => name);

// Calls `listener` with each model that is chosen from now on.
export const onChoice = (listener) => listeners.push(listener);

export function start() {
  byId("model").addEventListener("change", () => turnTo());
  byId("version").addEventListener("change", () => turnTo(byId("version").value));
  byId("model-facts").open = matchMedia("(min-width: 60rem)").matches;
}

// Reads the list again, keeps the choice where it is still there. Rejects with a Problem.
export async function load() {
  models = (await get("v1/models")).data.models;
  const before = byId("model").value;
  const first =
    models.find(({ name }) => name === before) ??
    models.find((model) => model.default) ??
    models.find(({ state }) => state === "ready") ??
    models[0];
  put(
    byId("model"),
    models.map(({ name, state }) =>
      el(
        "option",
        { value: name, selected: name === first?.name },
        state === "ready" ? name : `${name} (${words(state)})`,
      ),
    ),
  );
  put(
    byId("models"),
    models.map(({ name }) => el("option", { value: name })),
  );
  byId("model-card").hidden = models.length === 0;
  await choose();
  return models.length;
}

async function turnTo(version) {
  try {
    await choose(version);
    clear(byId("trouble"));
  } catch (problem) {
    show(byId("trouble"), problem, { again: () => turnTo(version) });
  }
}

let turn = 0;

async function choose(version) {
  const name = byId("model").value;
  if (!name) return;
  const mine = ++turn;
  const path = `v1/models/${encodeURIComponent(name)}`;
  const { data } = await get(version ? `${path}/versions/${encodeURIComponent(version)}` : path);
  // Who chose another one meanwhile waits for that.
  if (mine !== turn) return;
  chosen = data;
  describe(data);
  for (const listener of listeners) listener(data);
}

function describe(model) {
  const select = byId("version");
  select.hidden = model.versions.length < 2;
  put(
    select,
    model.versions.map(({ version, state }) =>
      el(
        "option",
        { value: version, selected: version === model.version },
        state === "ready" ? `version ${version}` : `version ${version} (${words(state)})`,
      ),
    ),
  );
  byId("model-says").textContent =
    model.state === "ready"
      ? (model.description ?? "")
      : sentence(`This version is ${words(model.state)}${model.reason ? `: ${model.reason}` : ""}`);
  put(byId("facts"), model.state === "ready" ? facts(model) : []);
}

function facts(model) {
  const { batching, execution } = model;
  return [
    pairs([
      ["Version", model.version],
      ["Task", model.task && words(model.task)],
      [
        "Text",
        model.text &&
          (model.text.tokenizer
            ? `cut after ${number(model.text.max_tokens)} tokens`
            : `goes into ${model.text.input}`),
      ],
      [
        "Labels",
        model.labels?.length
          ? el(
              "span",
              { class: "chips" },
              model.labels.map((label) => el("span", { class: "chip" }, label)),
            )
          : null,
      ],
    ]),
    tensors("Inputs", model.inputs),
    tensors("Outputs", model.outputs),
    quality(model.metrics),
    pairs([
      [
        "Runs",
        el(
          "span",
          { title: execution.reason },
          `${words(execution.strategy)}, ${number(execution.instances)} × ${number(execution.intra_threads)} threads`,
        ),
      ],
      [
        "Batches",
        el(
          "span",
          { title: batching.reason },
          batching.max_batch_size > 1
            ? `up to ${number(batching.max_batch_size)} rows, waits ${millis(batching.max_queue_delay_ms)}`
            : "one row at a time",
        ),
      ],
      ["Provider", model.provider],
      ["Size", `${bytes(model.size_bytes)}, loaded in ${millis(model.load_ms)}`],
      ["Golden samples", model.golden_samples ? `${number(model.golden_samples)} agreed` : null],
      ["Digest", el("code", { title: model.digest }, short(model.digest.replace("sha256:", ""), 17))],
    ]),
    el("p", { class: "note" }, sentence(execution.reason)),
  ];
}

function tensors(title, specs) {
  const shape = (dims) => `[${dims.map((dim) => (dim < 0 ? "any" : dim)).join(", ")}]`;
  const rows = specs.map((spec) => [el("code", null, spec.name), spec.datatype, shape(spec.shape)]);
  return el("div", null, el("h3", null, title), table(title, ["name", "type", "shape"], rows));
}

// The held-out figures, where there are some; else what else is a plain figure.
function quality(metrics) {
  const source = metrics?.held_out ?? metrics;
  const figures = Object.entries(source ?? {}).filter(
    ([name, value]) => typeof value === "number" && name !== "at_threshold",
  );
  if (!figures.length) return null;
  const share = (name) => /accuracy|precision|recall|^f1$|auc/.test(name);
  const rows = metrics.rows?.held_out;
  return el(
    "div",
    null,
    el("h3", null, metrics.held_out ? `Held out${rows ? `, ${number(rows)} rows` : ""}` : "Measured"),
    el(
      "div",
      { class: "figures" },
      pairs(figures.map(([name, value]) => [words(name), share(name) ? percent(value) : number(value)])),
    ),
  );
}
