// One input, one answer.

import { post } from "./api.js";
import { byId, el, put } from "./dom.js";
import { makeForm } from "./form.js";
import { current, onChoice } from "./model.js";
import { clear, show } from "./notice.js";
import { inWords, showResult } from "./result.js";

let form = null;
let asking = null;
let endWait = () => {};

export function start() {
  byId("predict-form").addEventListener("submit", (event) => {
    event.preventDefault();
    // Also while the button cannot be pressed: Enter still arrives here then.
    if (!byId("run").disabled) predict();
  });
  byId("fields").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("predict-form").requestSubmit();
  });
  onChoice(makeFields);
}

function makeFields(model) {
  reset();
  form = model.state === "ready" ? makeForm(model) : null;
  put(byId("fields"), form?.element ?? el("p", { class: "empty" }, "This model cannot be asked yet."));
  byId("run").disabled = !form;
}

function reset() {
  asking?.abort();
  endWait();
  clear(byId("predict-notice"));
  byId("result").hidden = true;
  byId("said").textContent = "";
}

async function predict() {
  const model = current();
  const input = form?.read();
  if (!input) return;
  asking?.abort();
  const { signal } = (asking = new AbortController());
  const version = model.version === model.default_version ? "" : `"version":${JSON.stringify(model.version)},`;
  byId("result").setAttribute("aria-busy", "true");
  try {
    const answer = await post("v1/predict", `{"model":${JSON.stringify(model.name)},${version}${input}}`, {
      fresh: byId("fresh").checked,
      signal,
    });
    clear(byId("predict-notice"));
    put(byId("result"), showResult(answer));
    byId("result").hidden = false;
    byId("said").textContent = inWords(answer);
  } catch (problem) {
    if (signal.aborted) return;
    byId("result").hidden = true;
    byId("said").textContent = "";
    const faults = form.mark(problem.errors ?? []);
    endWait = show(byId("predict-notice"), problem, { faults, button: byId("run") });
  } finally {
    byId("result").removeAttribute("aria-busy");
  }
}
