// What people type, as JSON. Numbers keep their digits: JavaScript has none of more than 53 bits, models do.

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

// One value of a datatype: { json }, or { fault }.
export function oneNumber(text, datatype) {
  const trimmed = text.trim();
  if (datatype === "BYTES") return { json: JSON.stringify(text) };
  if (trimmed === "") return { fault: "A value is missing." };
  if (datatype === "BOOL") {
    return trimmed === "true" || trimmed === "false" ? { json: trimmed } : { fault: "Write true or false." };
  }
  if (JSON_NUMBER.test(trimmed)) return { json: trimmed };
  // As people write them too: +1, .5, 5.
  const value = Number(trimmed);
  const plain = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed);
  return plain && Number.isFinite(value) ? { json: String(value) } : { fault: "This is no number." };
}

// A list as JSON, nested or not, or as values between commas and spaces: { json }, or { fault, at }.
export function listOf(text, datatype) {
  const trimmed = text.trim();
  if (trimmed === "") return { fault: "Values are missing.", at: "" };
  if (trimmed.startsWith("[") || trimmed.startsWith("{")) {
    return isJson(trimmed) ? { json: trimmed } : { fault: "This is no list in JSON.", at: "" };
  }
  const parts = datatype === "BYTES" ? trimmed.split("\n") : trimmed.split(/[\s,;]+/).filter(Boolean);
  const values = parts.map((part) => oneNumber(part, datatype));
  const wrong = values.findIndex(({ fault }) => fault);
  if (wrong >= 0) return { fault: values[wrong].fault, at: String(wrong) };
  return { json: `[${values.map(({ json }) => json).join(",")}]` };
}

// Whether a text is JSON.
export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
