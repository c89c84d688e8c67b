// Which models there are, and which one is chosen.

import { get } from "./api.js";
import { byId, el, put } from "./dom.js";
import { facts } from "./facts.js";
import { sentence, words } from "./format.js";
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
    const wanted = byId("model").value;
    // What is seen and what is asked stay the same model.
    if (chosen) {
      byId("model").value = chosen.name;
      describe(chosen);
    }
    const again = () => {
      byId("model").value = wanted;
      turnTo(version);
    };
    show(byId("trouble"), problem, { again });
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
