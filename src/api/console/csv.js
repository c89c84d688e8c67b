// Reads and writes CSV.

// RFC 4180: quotes around cells that hold a delimiter, a line break or, doubled, a quote.
export function readCsv(text) {
  const mark = delimiter(text);
  const rows = [];
  let [row, cell, quoted] = [[], "", false];
  const endRow = () => {
    rows.push([...row, cell]);
    [row, cell] = [[], ""];
  };
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quoted && c === '"' && text[at + 1] === '"') {
      cell += c;
      at += 1;
    } else if (c === '"' && (quoted || cell === "")) quoted = !quoted;
    else if (quoted) cell += c;
    else if (c === mark) {
      row.push(cell);
      cell = "";
    } else if (c === "\n") endRow();
    else if (c !== "\r") cell += c;
  }
  if (cell !== "" || row.length) endRow();
  return rows;
}

function delimiter(text) {
  const [line] = text.split(/\r?\n/, 1);
  const bare = line.replace(/"[^"]*"/g, "");
  const often = (mark) => bare.split(mark).length;
  return ["\t", ";"].find((mark) => often(mark) > often(",")) ?? ",";
}

// A prediction in one cell.
export const said = (prediction) => prediction?.label ?? prediction?.labels?.join(" ") ?? JSON.stringify(prediction);

// What was read, with what came out beside it.
export function writeCsv(source, model, outcomes) {
  const labels = model.labels ?? [];
  const head = source.head ?? (source.rows[0] ?? []).map((_, index) => (source.json ? "line" : `column_${index + 1}`));
  const rows = source.rows.map((row, index) => {
    const { prediction, cached, fault } = outcomes[index] ?? {};
    const shares = labels.map((label) => prediction?.probabilities?.[label] ?? "");
    const known = prediction !== undefined;
    return [
      ...head.map((_, column) => row[column] ?? ""),
      known ? said(prediction) : "",
      prediction?.confidence ?? "",
      ...shares,
      known ? String(cached) : "",
      fault ?? "",
    ];
  });
  const quote = (cell) => (/[",\r\n]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
  const all = [
    [...head, "prediction", "confidence", ...labels.map((label) => `p_${label}`), "cached", "error"],
    ...rows,
  ];
  return `${all.map((row) => row.map(quote).join(",")).join("\r\n")}\r\n`;
}
