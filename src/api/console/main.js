// Puts the page together: which section is open, and with which key it calls.

import { get, isKey, key } from "./api.js";
import { byId, put } from "./dom.js";
import { count } from "./format.js";
import * as files from "./files.js";
import * as history from "./history.js";
import * as live from "./live.js";
import * as model from "./model.js";
import { clear, show } from "./notice.js";
import * as predict from "./predict.js";
import * as records from "./records.js";

const SECTIONS = ["predict", "file", "live", "requests", "history"];

// Opens what the address names: #/requests/ID, #/history/ID. Anything else in it is left alone.
function route() {
  const [, name = "predict", id] = location.hash.split("/");
  if (!SECTIONS.includes(name)) return;
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("content").dataset.section = name;
  if (name === "live") live.open();
  else live.close();
  if (name === "requests") records.open(id && decodeURIComponent(id));
  if (name === "history") history.open(id && decodeURIComponent(id));
}

// Reads the models with the key that is there, and says whether that worked.
async function connect() {
  const typed = key.get();
  try {
    const models = await model.load();
    clear(byId("trouble"));
    byId("key-state").textContent = typed
      ? `${typed.split("_").slice(0, 2).join("_")}, ${count(models, "model")}`
      : "not needed";
    askForKey(false);
    delete byId("content").dataset.locked;
  } catch (problem) {
    // There is nothing to see of a server that does not let in. A key may be for other things than models, though.
    if (problem.status !== 403) byId("content").dataset.locked = "true";
    byId("key-state").textContent = problem.status === 401 ? (typed ? "not accepted" : "needed") : "…";
    askForKey(problem.status === 401);
    show(byId("trouble"), problem, { again: problem.status === 401 ? null : connect });
  }
  byId("content").dataset.ready = "true";
}

function askForKey(open) {
  byId("key-form").hidden = !open;
  byId("key-forget").hidden = !key.get();
  byId("key-open").setAttribute("aria-expanded", String(open));
}

async function useKey(text) {
  if (text && !isKey(text)) {
    byId("key-fault").textContent = "A key has no spaces, and no letters with accents.";
    byId("key").setAttribute("aria-invalid", "true");
    byId("key").focus();
    return;
  }
  byId("key-fault").textContent = "";
  byId("key").removeAttribute("aria-invalid");
  byId("key").value = "";
  if (text) key.set(text);
  else key.forget();
  await connect();
  live.forget();
  route();
}

async function describeServer() {
  try {
    const { data } = await get("./");
    put(byId("footer"), `Glassbox ${data.version}${data.revision ? ` (${data.revision})` : ""}`);
  } catch {
    // The footer is no place for troubles.
  }
}

byId("key-open").addEventListener("click", () => {
  askForKey(byId("key-form").hidden);
  byId("key").focus();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
});
byId("key-forget").addEventListener("click", () => useKey(""));
addEventListener("hashchange", route);
for (const part of [model, predict, files, live, records, history]) part.start();
route();
connect();
describeServer();
