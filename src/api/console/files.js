// Many rows at once: a file is read in the page, predicted in batches, shown as a table and given back as CSV.

import { predictAll } from "./batches.js";
import { said, writeCsv } from "./csv.js";
import { byId, el, put, table } from "./dom.js";
import { takesText } from "./form.js";
import { bytes, count, number, percent, short } from "./format.js";
import { current, onChoice } from "./model.js";
import { clear, countDown, show } from "./notice.js";
import { MOST_BYTES, MOST_ROWS, makeItems, readRows, textColumn } from "./rows.js";

// Rows that are shown; the download has all of them.
const SHOWN = 200;

let file = null;
let running = null;
let address = null;

export function start() {
  byId("file-note").textContent =
    `It is read in this page: up to ${bytes(MOST_BYTES)} and ${count(MOST_ROWS, "row")}. Its rows go to the server in batches.`;
  byId("file-input").addEventListener("change", (event) => take(event.target.files[0]));
  byId("file-stop").addEventListener("click", () => running?.abort());
  const drop = byId("drop");
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    // The chooser beside it says the name too.
    byId("file-input").files = event.dataTransfer.files;
    take(event.dataTransfer.files[0]);
  });
  onChoice(() => file && plan());
}

async function take(chosen) {
  if (!chosen) return;
  running?.abort();
  file = null;
  byId("file-run").hidden = true;
  clear(byId("file-notice"));
  byId("file-plan").hidden = true;
  if (chosen.size > MOST_BYTES)
    return complain(`${chosen.name} has ${bytes(chosen.size)}, and at most ${bytes(MOST_BYTES)} can be read here.`);
  const content = readRows(await chosen.text(), chosen.name);
  if (!content.rows.length) return complain(`${chosen.name} has no rows.`);
  if (content.rows.length > MOST_ROWS)
    return complain(
      `${chosen.name} has ${count(content.rows.length, "row")}, and at most ${number(MOST_ROWS)} can be predicted here.`,
    );
  file = { name: chosen.name, ...content };
  plan();
}

function complain(text) {
  put(
    byId("file-notice"),
    el(
      "div",
      { class: "notice", role: "alert" },
      el("p", { class: "title" }, "This file cannot be used."),
      el("p", null, text),
    ),
  );
}

// Says what is about to happen, and lets the column be chosen where there is a choice.
function plan() {
  const model = current();
  const text = !file.json && model?.inputs && takesText(model);
  const columns = file.head ?? (file.rows[0] ?? []).map((_, index) => `column ${index + 1}`);
  const select = el(
    "select",
    { id: "file-column" },
    columns.map((name, index) => el("option", { value: String(index), selected: index === textColumn(file) }, name)),
  );
  const run = el(
    "button",
    {
      class: "primary",
      type: "button",
      id: "file-start",
      disabled: !model?.inputs,
      onclick: () => predict(model, text ? Number(select.value) : null),
    },
    `Predict ${count(file.rows.length, "row")}`,
  );
  put(
    byId("file-plan"),
    el(
      "p",
      { id: "file-name" },
      el("strong", null, file.name),
      ` · ${file.json ? "JSON lines" : `CSV, ${count(columns.length, "column")}${file.head ? "" : " without names"}`} · ${count(file.rows.length, "row")}`,
    ),
    text &&
      columns.length > 1 &&
      el("p", { class: "row" }, el("label", { for: "file-column" }, "The text is in"), select),
    el("div", { class: "row actions" }, run),
  );
  byId("file-plan").hidden = false;
}

async function predict(model, column) {
  running?.abort();
  const mine = (running = new AbortController());
  const source = file;
  const items = makeItems(source, model, column);
  const outcomes = new Array(items.length).fill(null);
  begin(items.length);
  let done = 0;
  const told = (index, outcome) => {
    outcomes[index] = outcome;
    done += 1;
    if (index < SHOWN) putRow(index, items[index].shown, outcome);
    progress(done, items.length, outcomes);
  };
  const kind = takesText(model) ? "texts" : "inputs";
  const waiting = (problem) =>
    new Promise((resolve) => {
      show(byId("file-notice"), problem);
      const stop = countDown(problem.retryAfter ?? 1, (left) => left === 0 && resolve(clear(byId("file-notice"))));
      mine.signal.addEventListener("abort", () => resolve(stop()));
    });
  try {
    await predictAll({ model, kind, items, told, waiting, signal: mine.signal });
  } catch (problem) {
    if (mine !== running) return;
    if (!mine.signal.aborted) show(byId("file-notice"), problem);
  }
  if (mine === running) finish(source, model, outcomes);
}

function begin(rows) {
  clear(byId("file-notice"));
  byId("file-run").hidden = false;
  byId("file-stop").hidden = false;
  byId("file-save").hidden = true;
  Object.assign(byId("file-progress"), { max: rows, value: 0 });
  const blank = Array.from({ length: Math.min(rows, SHOWN) }, (_, index) => [String(index + 1), "", "", "", ""]);
  put(
    byId("file-table"),
    table("Results", ["row", "input", "prediction", "confidence", "from"], blank, [0, 3]),
    rows > SHOWN &&
      el("p", { class: "note" }, `The first ${SHOWN} rows are shown; the download has all ${number(rows)}.`),
  );
}

function putRow(index, shown, { prediction, cached, fault }) {
  const cells = byId("file-table").querySelectorAll("tbody tr")[index].cells;
  cells[1].textContent = short(shown, 120);
  cells[2].textContent = fault ?? short(said(prediction), 80);
  cells[2].classList.toggle("fault", Boolean(fault));
  cells[3].textContent = typeof prediction?.confidence === "number" ? percent(prediction.confidence) : "";
  cells[4].textContent = fault ? "" : cached ? "cache" : "model";
}

function progress(done, rows, outcomes) {
  byId("file-progress").value = done;
  const faults = outcomes.filter((outcome) => outcome?.fault).length;
  byId("file-count").textContent =
    `${number(done)} of ${count(rows, "row")}${faults ? `, ${number(faults)} with a fault` : ""}`;
}

function finish(source, model, outcomes) {
  byId("file-stop").hidden = true;
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(new Blob([writeCsv(source, model, outcomes)], { type: "text/csv" }));
  const save = byId("file-save");
  Object.assign(save, {
    href: address,
    download: `${source.name.replace(/\.\w+$/, "")}.${model.name}.csv`,
    hidden: false,
  });
}
