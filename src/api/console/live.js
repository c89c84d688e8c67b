// What the server is doing now, read from /v1/stats every two seconds while somebody is looking.

import { get } from "./api.js";
import { chart } from "./charts.js";
import { byId, put, table } from "./dom.js";
import { UNKNOWN, number, percent, span } from "./format.js";
import { clear, show } from "./notice.js";
import { between } from "./readings.js";

const EVERY_MS = 2000;

// Five minutes.
const MOST_POINTS = 150;

const inMillis = (value) => (value === null ? UNKNOWN : `${number(value)} ms`);

const perSecond = (value) => (value === null ? UNKNOWN : `${number(value)}/s`);

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
  byId("live-note").textContent =
    `up for ${span(stats.uptime_seconds)}, ${number(stats.total_requests)} requests, every ${EVERY_MS / 1000} s`;
  if (!figures)
    return showModels(
      stats.models.map((model) => ({
        ...model,
        name: model.model,
        rate: null,
        hits: null,
        inference: null,
        batch: model.avg_batch_size,
        queue: model.queue_depth,
        failed: model.failed_predictions,
      })),
    );
  points = [...points, { at, figures }].slice(-MOST_POINTS);
  draw();
  showModels(figures.models);
}

function draw() {
  if (!isOpen) return;
  for (const {
    of,
    chart: { draw: paint },
  } of charts)
    paint(points.map(({ at, figures }) => ({ at, values: of(figures) })));
}

function showModels(models) {
  const head = ["model", "now", "from cache", "p95 run", "batch", "waiting", "so far", "failed"];
  const rows = models.map((model) => [
    `${model.name} ${model.version}`,
    perSecond(model.rate),
    percent(model.hits, 0),
    inMillis(model.inference),
    number(model.batch),
    number(model.queue),
    number(model.predictions),
    number(model.failed),
  ]);
  put(byId("live-models"), table("Figures by model", head, rows, [1, 2, 3, 4, 5, 6, 7]));
}
