// The stages of one request as a bar of time: each begins where those before it end, as a request passes them.

import { el } from "./dom.js";
import { millis, words } from "./format.js";

// `stages` is [{ name, ms }, …] in the order in which a request passes them.
export function stageBar(stages, total) {
  const whole = Math.max(
    total ?? 0,
    stages.reduce((sum, { ms }) => sum + ms, 0),
    Number.EPSILON,
  );
  let from = 0;
  const rows = stages.map(({ name, ms }) => {
    const bar = el("span", { class: `bar stage-${name}` });
    bar.style.marginInlineStart = `${(from / whole) * 100}%`;
    bar.style.inlineSize = `${(ms / whole) * 100}%`;
    from += ms;
    return el(
      "li",
      { "data-stage": name },
      el("span", { class: "name" }, words(name)),
      el("span", { class: "track", "aria-hidden": "true" }, bar),
      el("span", { class: "figure" }, millis(ms)),
    );
  });
  return el("ol", { class: "stages" }, rows);
}

// The same in one line, for lists.
export function stageLine(stages) {
  const whole = stages.reduce((sum, { ms }) => sum + ms, 0) || 1;
  const parts = stages.map(({ name, ms }) => {
    const part = el("span", { class: `stage-${name}`, title: `${words(name)} ${millis(ms)}` });
    part.style.flexGrow = String(ms / whole);
    return part;
  });
  return el("span", { class: "stage-line", "aria-hidden": "true" }, parts);
}
