// Everything that is known about a model that is ready.

import { el, pairs, table } from "./dom.js";
import { bytes, count, millis, number, percent, short, words } from "./format.js";

// As many as the server watches.
const MOST_FEATURES = 50;

// What is shown of an answer of /v1/models/{model}.
export function facts(model) {
  const { text, labels, batching, execution } = model;
  return [
    pairs([
      ["Version", model.version],
      ["Task", model.task && words(model.task)],
      ["Text", text?.tokenizer ? `cut after ${number(text.max_tokens)} tokens` : null],
      ["Labels", labels?.length ? chips(labels) : null],
    ]),
    tensors("Inputs", model.inputs),
    tensors("Outputs", model.outputs),
    el("h3", null, "How it is called"),
    pairs([
      ["REST", el("code", null, "POST /v1/predict")],
      ["Open Inference", el("code", null, `POST /v2/models/${model.name}/versions/${model.version}/infer`)],
      ["gRPC", el("code", null, "inference.GRPCInferenceService/ModelInfer")],
    ]),
    quality(model.metrics),
    trainedOn(model.metrics),
    el("h3", null, "How it runs"),
    pairs([
      ["Strategy", `${words(execution.strategy)}, ${count(execution.instances, "session")}`],
      ["Why", execution.reason],
      ["Batches", batches(batching)],
      ["Provider", model.provider],
      ["Size", `${bytes(model.size_bytes)}, loaded in ${millis(model.load_ms)}`],
      ["Golden samples", model.golden_samples ? `${number(model.golden_samples)} agreed` : null],
      ["Digest", el("code", { title: model.digest }, short(model.digest.replace("sha256:", ""), 17))],
    ]),
  ];
}

function chips(labels) {
  const chip = (label) => el("span", { class: "chip" }, label);
  return el("span", { class: "chips" }, labels.map(chip));
}

function batches({ max_batch_size: rows, max_queue_delay_ms: delay, reason }) {
  if (rows <= 1) return `one row at a time${reason ? `: ${reason}` : ""}`;
  return `up to ${number(rows)} rows${delay > 0 ? `, wait ${millis(delay)}` : ""}`;
}

function tensors(title, specs) {
  const shape = (dims) => `[${dims.map((dim) => (dim < 0 ? "any" : dim)).join(", ")}]`;
  const rows = specs.map((spec) => [el("code", null, spec.name), spec.datatype, shape(spec.shape)]);
  return el("div", { class: "tensors" }, el("h3", null, title), table(title, ["name", "type", "shape"], rows));
}

// The held-out figures, where there are some; else what else is a plain figure.
function quality(metrics) {
  const isFigure = ([name, value]) => typeof value === "number" && name !== "at_threshold";
  const figures = Object.entries(metrics?.held_out ?? metrics ?? {}).filter(isFigure);
  if (!figures.length) return null;
  const isShare = (name) => /accuracy|precision|recall|^f1$|auc/.test(name);
  const rows = metrics.rows?.held_out;
  return el(
    "div",
    null,
    el("h3", null, metrics.held_out ? `Held out${rows ? `, ${number(rows)} rows` : ""}` : "Measured"),
    pairs(figures.map(([name, value]) => [words(name), isShare(name) ? percent(value) : number(value)])),
  );
}

// The numbers of the rows that it was trained on, which those of callers are compared with.
function trainedOn(metrics) {
  const features = Object.values(metrics?.features ?? {})
    .flat()
    .slice(0, MOST_FEATURES);
  if (!features.length) return null;
  const head = ["number", "mean", "deviation", "from", "to"];
  const figures = ({ mean, std, min, max }) => [mean, std, min, max].map((figure) => number(figure));
  const rows = features.map((feature) => [el("code", null, feature.name), ...figures(feature)]);
  return el("div", null, el("h3", null, "Trained on"), table("Trained on", head, rows, [1, 2, 3, 4]));
}
