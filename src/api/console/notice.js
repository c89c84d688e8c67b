// Says in words what went wrong, what mends it, and, where that is known, how long to wait.

import { key } from "./api.js";
import { el, put } from "./dom.js";
import { sentence } from "./format.js";

// What happened, and what to do about it.
function explain(problem) {
  switch (problem.status) {
    case 0:
      return [
        "The server cannot be reached.",
        sentence(problem.detail) || "It may have stopped, or the network is gone. Nothing is lost here: try again.",
      ];
    case 401:
      return key.get()
        ? [
            "This key was not accepted.",
            "It may be mistyped, revoked or expired. Put in another one, under API key at the top.",
          ]
        : [
            "This server asks for a key.",
            "Put in yours above. Keys are made with glassbox keys create, by whoever runs the server.",
          ];
    case 403:
      return ["This key may not do that.", sentence(problem.detail)];
    case 404:
      return ["There is no such thing here.", sentence(problem.detail)];
    case 413:
      return ["That is too much for one request.", sentence(problem.detail)];
    case 422:
      return ["The input does not fit the model.", problem.errors.length ? "" : sentence(problem.detail)];
    case 429:
      return ["Too many requests.", sentence(problem.detail)];
    case 503:
      return [
        problem.code === "draining" ? "The server is stopping." : "The server has no room for this just now.",
        sentence(problem.detail),
      ];
    case 504:
      return ["The answer took too long.", sentence(problem.detail)];
    default:
      return [
        problem.status >= 500 ? "Something went wrong in the server." : "The request was not understood.",
        sentence(problem.detail),
      ];
  }
}

// Nobody did anything wrong yet.
const isAsking = ({ status }) => status === 401 && !key.get();

// Shows `problem` in `place`. `faults` are the sentences that belong to no field; `again` is what a button does that tries
// it once more. While there is something to wait for, that button and `button` cannot be pressed. Returns what ends the wait.
export function show(place, problem, { faults = [], button = null, again = null } = {}) {
  const [title, text] = explain(problem);
  const wait = el("p", { class: "wait", role: "timer" });
  const retry = again && el("button", { type: "button", onclick: again }, "Try again");
  put(
    place,
    el(
      "div",
      { class: isAsking(problem) ? "notice plain" : "notice", role: "alert", "data-code": problem.code },
      el("p", { class: "title" }, title),
      text && el("p", null, text),
      faults.length > 0 &&
        el(
          "ul",
          null,
          faults.map((fault) => el("li", null, fault)),
        ),
      problem.requestId && el("p", { class: "note" }, "Request ", el("code", null, problem.requestId)),
      problem.retryAfter !== null && wait,
      retry,
    ),
  );
  if (problem.retryAfter === null) return () => {};
  return countDown(problem.retryAfter, (left) => {
    wait.textContent = left > 0 ? `Again in ${left} s` : "You can try again now.";
    for (const one of [button, retry]) if (one) one.disabled = left > 0;
  });
}

// Calls `tick` with the whole seconds that are left, at once and then each second, at last with 0.
export function countDown(seconds, tick) {
  const end = performance.now() + seconds * 1000;
  let timer;
  const step = () => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    tick(left);
    if (left > 0) timer = setTimeout(step, Math.max(50, end - performance.now() - (left - 1) * 1000));
  };
  step();
  return () => clearTimeout(timer);
}

export const clear = (place) => put(place);
