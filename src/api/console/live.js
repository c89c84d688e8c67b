// What the server is doing now, read from /v1/stats every two seconds while somebody is looking.

import { get } from "./api.js";
import { chart } from "./charts.js";
import { byId, el, put, table } from "./dom.js";
import { UNKNOWN, number, percent, short, span } from "./format.js";
import { clear, show } from "./notice.js";
import { between } from "./readings.js";
import { showWorkers } from "./workers.js";

const EVERY_MS = 2000;

// Five minutes.
const MOST_POINTS = 150;

const inMillis = (value) => (value === null ? UNKNOWN : `${number(value)} ms`);

const perSecond = (value) => (Number.isFinite(value) ? `${number(value)}/s` : UNKNOWN);

// Answers that are enough to say anything; and as the server's own alerts have it, the index from which they are of another
// kind, and the standard deviations from which numbers are others.
const [FEWEST, ANOTHER_KIND, OTHER_NUMBERS] = [200, 0.25, 0.5];

const DRIFT =
  "Drift is how far the computed answers of the last hour are from those to held-out inputs, as a population stability " +
  "index: 0 is alike, above 0.25 is another kind of input. Of a model that takes numbers, it is how far the mean of the " +
  "farthest one is from that of the training rows, in their standard deviations: above 0.5 they are others.";

const charts = [
  {
    of: ({ rate, refused, failed }) => [rate, refused, failed],
    chart: chart({ title: "Requests", lines: ["all", "refused", "failed"], tones: [0, 1, "bad"], format: perSecond }),
  },
  {
    of: ({ latency }) => latency.toReversed(),
    chart: chart({ title: "Latency", lines: ["p99", "p95", "p50"], format: inMillis }),
  },
  {
    of: ({ hits }) => [hits],
    chart: chart({ title: "From the cache", lines: ["share"], format: (share) => percent(share, 0), top: 1 }),
  },
  {
    of: ({ inFlight, queue }) => [inFlight, queue],
    chart: chart({ title: "In the server", lines: ["requests", "waiting"], format: (value) => number(value) }),
  },
];

let points = [];
let before = null;
let watching = null;
let isOpen = false;

export function start() {
  put(
    byId("charts"),
    charts.map(({ chart: { element } }) => element),
  );
  document.addEventListener("visibilitychange", go);
  addEventListener("resize", draw);
}

export function open() {
  isOpen = true;
  draw();
  go();
}

export function close() {
  isOpen = false;
  go();
}

// Begins anew, with another key.
export function forget() {
  watching?.abort();
  watching = null;
  before = null;
  points = [];
  go();
}

// Watches while the section is open and the tab is seen.
function go() {
  const wanted = isOpen && document.visibilityState === "visible";
  if (wanted && !watching) watch((watching = new AbortController()).signal);
  if (!wanted && watching) {
    watching.abort();
    watching = null;
  }
}

async function watch(signal) {
  while (!signal.aborted) {
    let wait = EVERY_MS;
    try {
      const { data } = await get("v1/stats", { signal });
      clear(byId("live-notice"));
      add(data);
    } catch (problem) {
      if (signal.aborted) return;
      show(byId("live-notice"), problem);
      // Nothing will change while the key stays as it is.
      if ([401, 403, 404].includes(problem.status)) return;
      wait = Math.max(EVERY_MS, (problem.retryAfter ?? 5) * 1000);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function add(stats) {
  const at = performance.now() / 1000;
  const figures = before && between(before.stats, stats, at - before.at);
  before = { stats, at };
  showWorkers(byId("live-workers"), stats.queue);
  byId("live-note").textContent =
    `up for ${span(stats.uptime_seconds)}, ${number(stats.total_requests)} requests, every ${EVERY_MS / 1000} s`;
  // Of one reading alone, only what does not need another one is known.
  if (!figures) return showModels(between(stats, stats, Number.NaN).models);
  points = [...points, { at, figures }].slice(-MOST_POINTS);
  draw();
  showModels(figures.models);
}

function draw() {
  if (!isOpen) return;
  for (const one of charts) one.chart.draw(points.map(({ at, figures }) => ({ at, values: one.of(figures) })));
}

function showModels(models) {
  const head = ["model", "now", "from cache", "p95 run", "batch", "waiting", "so far", "failed", "drift"];
  const rows = models.map((model) => [
    `${model.name} ${model.version}`,
    perSecond(model.rate),
    percent(model.hits, 0),
    inMillis(model.inference),
    number(model.batch),
    number(model.queue),
    number(model.predictions),
    number(model.failed),
    driftOf(model),
  ]);
  put(
    byId("live-models"),
    table("Figures by model", head, rows, [1, 2, 3, 4, 5, 6, 7, 8]),
    el("p", { class: "note", id: "drift-note" }, DRIFT),
  );
}

// The index of a classifier's answers, or the number whose mean went farthest.
function driftOf({ drift, features }) {
  const far = ({ shift }) => Math.abs(shift ?? Infinity);
  const [farthest] = features.toSorted((one, other) => far(other) - far(one));
  if (!drift && !farthest) return UNKNOWN;
  const { samples } = drift ?? farthest;
  if (samples < FEWEST) return `${number(samples)} of ${FEWEST} answers`;
  const off = drift ? Math.max(drift.class, drift.confidence) : far(farthest);
  const bound = drift ? ANOTHER_KIND : OTHER_NUMBERS;
  const text = off.toFixed(2) + (drift ? "" : ` (${short(farthest.feature, 24)})`);
  return el("span", { class: off > bound ? "fault" : null }, text);
}
