// Who runs the models of a server that runs none itself, and what waits for them: the part `queue` of /v1/stats.

import { el, put, table } from "./dom.js";
import { UNKNOWN, count, millis, number, short, span, words } from "./format.js";

// Shows `queue` in `place`, and nothing where models are run by the server that was asked.
export function showWorkers(place, queue) {
  place.hidden = !queue;
  if (!queue) return put(place);
  put(
    place,
    el("h2", null, "Workers ", el("span", { class: "note" }, "the other processes, which run the models")),
    queue.trouble && interrupted(queue.trouble),
    models(queue.models),
    workers(queue),
    letters(queue.dead_letters),
  );
}

function interrupted(trouble) {
  return el(
    "p",
    { class: "notice", id: "queue-trouble" },
    `The Redis between this server and its workers is away: ${trouble}. Only what is in the cache is answered meanwhile; ` +
      "the figures below are from before. It is tried again all the time.",
  );
}

function models(models) {
  if (!models.length) return null;
  const head = ["model", "live workers", "waiting or running", "oldest"];
  const rows = models.map(({ model, workers, entries, oldest_ms }) => [
    model,
    workers ? number(workers) : el("span", { class: "fault" }, "none"),
    number(entries),
    entries ? millis(oldest_ms) : UNKNOWN,
  ]);
  return table("What waits for workers", head, rows, [1, 2, 3]);
}

function workers({ workers, workers_in_all: all }) {
  if (!workers.length) return el("p", { class: "fault", id: "no-workers" }, "No worker lives: glassbox worker starts one.");
  const rows = workers.map((worker) => [
    el("code", null, short(worker.worker, 40)),
    span(worker.uptime_seconds),
    versions(worker),
  ]);
  return [
    table("Live workers", ["worker", "up for", "serves"], rows, [1]),
    all > workers.length && el("p", { class: "note" }, `And ${count(all - workers.length, "further worker")}.`),
  ];
}

// Those that are as they should be by their names alone.
function versions({ versions, further_versions: further }) {
  const chips = versions.map(({ model, version, state }) =>
    el(
      "li",
      { class: state === "failed" ? "chip fault" : "chip" },
      [model, version, state === "ready" ? null : `(${words(state)})`].filter(Boolean).join(" "),
    ),
  );
  if (further) chips.push(el("li", { class: "chip" }, `and ${number(further)} more`));
  return el("ul", { class: "served" }, chips);
}

function letters(dead) {
  if (!dead) return null;
  return el(
    "p",
    { class: "fault", id: "dead-letters" },
    `${count(dead, "request")} ${dead === 1 ? "was" : "were"} given up, because every worker that took one fell silent. `,
    el("code", null, "glassbox queue dead list"),
    " shows more.",
  );
}
