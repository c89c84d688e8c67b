// Reads the rows of a CSV or JSON-lines file, and makes items of them for the chosen model.

import { readCsv } from "./csv.js";
import { itemShape, takesText } from "./form.js";
import { isJson, listOf, oneNumber } from "./values.js";

// What one tab should hold, and one person should wait for.
export const MOST_BYTES = 5 * 1024 * 1024;
export const MOST_ROWS = 10_000;

// Returns { head, rows }: the names of the columns and lists of cells; or, of JSON lines, no head and one cell per row.
export function readRows(text, name) {
  const lines = text.replace(/^\uFEFF/, "");
  if (looksLikeJson(lines, name)) {
    const rows = lines.split(/\r?\n/).filter((line) => line.trim() !== "");
    return { json: true, head: null, rows: rows.map((line) => [line.trim()]) };
  }
  const rows = readCsv(lines).filter((row) => row.length > 1 || row[0].trim() !== "");
  // A first row without any number, above others, is taken for names; one column may be all text, so its name has to be a word.
  const first = rows[0] ?? [];
  const named =
    rows.length > 1 &&
    first.every((cell) => cell.trim() !== "" && Number.isNaN(Number(cell))) &&
    (first.length > 1 || /^\w{1,40}$/.test(first[0].trim()));
  return { json: false, head: named ? first.map((cell) => cell.trim()) : null, rows: named ? rows.slice(1) : rows };
}

function looksLikeJson(text, name) {
  if (/\.(jsonl|ndjson|json)$/i.test(name)) return true;
  if (/\.(csv|tsv)$/i.test(name)) return false;
  const [line] = text.trimStart().split(/\r?\n/, 1);
  return /^["[{]/.test(line) && isJson(line);
}

// The column that most likely holds the text.
export function textColumn({ head, rows }) {
  const named = (head ?? []).findIndex((name) => /^(text|comment|tweet|sentence|message|body|content)s?$/i.test(name));
  if (named >= 0) return named;
  const length = (column) => rows.slice(0, 50).reduce((sum, row) => sum + (row[column] ?? "").length, 0);
  return [...(rows[0] ?? []).keys()].reduce((best, column) => (length(column) > length(best) ? column : best), 0);
}

// One item per row: { json, shown }, or { fault, shown } for what cannot be sent.
export function makeItems(table, model, column) {
  const make = table.json ? fromJson(model) : takesText(model) ? fromText(column) : fromNumbers(table, model);
  return table.rows.map(make);
}

function fromJson(model) {
  const member = takesText(model) ? "text" : "input";
  return ([line]) => {
    if (!isJson(line)) return { fault: "This line is no JSON.", shown: line };
    const value = JSON.parse(line);
    const wrapped = value !== null && typeof value === "object" && !Array.isArray(value) && member in value;
    // What is not wrapped goes on as it was written, with all digits of its numbers.
    const json = wrapped ? JSON.stringify(value[member]) : line;
    if (takesText(model) && typeof JSON.parse(json) !== "string")
      return { fault: 'A text is wanted: "…" or {"text": "…"}.', shown: line };
    return { json, shown: takesText(model) ? JSON.parse(json) : json };
  };
}

const fromText = (column) => (row) => ({ json: JSON.stringify(row[column] ?? ""), shown: row[column] ?? "" });

function fromNumbers({ head }, model) {
  const columns = model.inputs.map((spec) => columnsOf(spec, head, model.inputs.length === 1));
  return (row) => {
    const shown = row.join(", ");
    const values = model.inputs.map((spec, index) => {
      const own = columns[index] === "all" ? row : columns[index].map((column) => row[column] ?? "");
      return own.length ? inputOf(spec, itemShape(model, spec), own) : { fault: `No column is named ${spec.name}.` };
    });
    const fault = values.find((value) => value.fault)?.fault;
    if (fault) return { fault, shown };
    const named = model.inputs.map((spec, index) => `${JSON.stringify(spec.name)}:${values[index].json}`);
    return { json: model.inputs.length === 1 ? values[0].json : `{${named.join(",")}}`, shown };
  };
}

// The columns of an input: those named like it, with or without an index; for an only input, all of them.
function columnsOf(spec, head, only) {
  const rest = (name) => (name.startsWith(spec.name) ? name.slice(spec.name.length) : null);
  const own = (head ?? []).flatMap((name, column) =>
    rest(name) !== null && /^([[_. ]?\d+\]?)?$/.test(rest(name)) ? [column] : [],
  );
  return own.length || !only ? own : "all";
}

function inputOf(spec, shape, own) {
  if (own.length === 1 && shape.length === 0) return oneNumber(own[0], spec.datatype);
  if (own.length === 1) return listOf(own[0], spec.datatype);
  const values = own.map((text) => oneNumber(text, spec.datatype));
  const wrong = values.findIndex(({ fault }) => fault);
  return wrong >= 0
    ? { fault: `Column ${wrong + 1} of ${spec.name}: ${values[wrong].fault}` }
    : { json: `[${values.map(({ json }) => json).join(",")}]` };
}
