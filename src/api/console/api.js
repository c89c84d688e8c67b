// Calls the server that this page came from, with the key that was typed in.

const KEY = "glassbox.key";

// Longer than the server takes for anything.
const PATIENCE_MS = 120_000;

// A call that gave no answer of use. `status` is 0 where none came at all.
export class Problem extends Error {
  constructor({ status = 0, code = "unreachable", detail = "", errors = [], retryAfter = null, requestId = null }) {
    super(detail);
    Object.assign(this, { status, code, detail, errors, retryAfter, requestId });
  }
}

// The key: in the tab's own storage, which ends with it, and never in an address.
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// What a key can be made of; anything else could not be sent.
export const isKey = (text) => /^[\x21-\x7e]+$/.test(text);

export const get = (path, options) => call(path, { ...options, method: "GET" });

// `json` is text, so that numbers reach the server as they were typed. With `fresh`, no known answer is taken.
export function post(path, json, { fresh = false, ...options } = {}) {
  const headers = { "Content-Type": "application/json", ...(fresh && { "Cache-Control": "no-cache" }) };
  return call(path, { ...options, method: "POST", headers, body: json });
}

// Resolves to { data, headers, seenMs }, or rejects with a Problem; with an AbortError when `signal` says so.
async function call(path, { method, headers = {}, body, signal }) {
  const sent = { Accept: "application/json", ...headers };
  if (key.get()) sent.Authorization = `Bearer ${key.get()}`;
  const until = AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])]);
  const started = performance.now();
  let response, text;
  try {
    // The default cache mode: another one would send Cache-Control, which the server's own cache listens to.
    response = await fetch(path, {
      method,
      headers: sent,
      body,
      signal: until,
      credentials: "omit",
      redirect: "error",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ detail: error.name === "TimeoutError" ? "no answer came in time" : "" });
  }
  const seenMs = performance.now() - started;
  const data = parse(text);
  if (response.ok && data !== undefined) return { data, headers: response.headers, seenMs };
  throw problem(response, data);
}

function problem(response, data) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem({
    status: response.status,
    code: data?.code ?? "unexpected",
    detail: data?.detail ?? `the answer, with status ${response.status}, is not one of Glassbox`,
    errors: data?.errors ?? [],
    retryAfter: Number.isNaN(seconds) ? null : seconds,
    requestId: data?.request_id ?? response.headers.get("X-Request-Id"),
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// `Server-Timing` as [{ name, ms }, …] in its order, and `total` apart.
export function timings(headers) {
  const stages = (headers.get("Server-Timing") ?? "")
    .split(",")
    .map((entry) => /^\s*([a-z_]+)\s*;\s*dur=([0-9.]+)/.exec(entry))
    .filter(Boolean)
    .map(([, name, ms]) => ({ name, ms: Number(ms) }));
  return {
    stages: stages.filter(({ name }) => name !== "total"),
    total: stages.find(({ name }) => name === "total")?.ms,
  };
}
