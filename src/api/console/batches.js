// Sends items to /v1/predict_batch, a batch after the other, until each has an answer or a fault of its own.

import { post } from "./api.js";
import { sentence } from "./format.js";

// Small enough that progress is seen and a quota is met softly.
const ROWS = 100;

// Refusals in a row after which it is better to ask a person.
const MOST_REFUSALS = 20;

// `items` are { json } or { fault }; `told(index, outcome)` is called once for each of them, with { prediction, cached }
// or { fault }. `waiting(problem)` resolves when it is time to try again. Rejects with what cannot be mended by waiting.
export async function predictAll({ model, kind, items, told, waiting, signal }) {
  const head = `{"model":${JSON.stringify(model.name)},"version":${JSON.stringify(model.version)},"${kind}":[`;
  let left = [];
  items.forEach((item, index) => (item.fault ? told(index, { fault: item.fault }) : left.push(index)));
  let [rows, refusals] = [ROWS, 0];
  while (left.length) {
    const batch = left.slice(0, rows);
    try {
      const { data } = await post("v1/predict_batch", `${head}${batch.map((index) => items[index].json).join(",")}]}`, {
        signal,
      });
      batch.forEach((index, at) => told(index, data.predictions[at]));
      left = left.slice(batch.length);
      refusals = 0;
    } catch (problem) {
      const faults = faultsOf(problem, kind, batch.length);
      if (faults.size) {
        faults.forEach((fault, at) => told(batch[at], { fault }));
        left = [...batch.filter((_, at) => !faults.has(at)), ...left.slice(batch.length)];
      } else if (tooMany(problem) && batch.length > 1) {
        rows = Math.ceil(batch.length / 2);
      } else if ([429, 503].includes(problem.status) && refusals < MOST_REFUSALS) {
        refusals += 1;
        await waiting(problem);
        signal.throwIfAborted();
      } else {
        throw problem;
      }
    }
  }
}

// The faults of single items, by their place in the batch: the server names each, and runs none of them.
function faultsOf(problem, kind, length) {
  const faults = new Map();
  if (problem.status !== 422) return faults;
  for (const { pointer, detail } of problem.errors) {
    const at = Number(new RegExp(`^/${kind}/(\\d+)(/|$)`).exec(pointer)?.[1] ?? Number.NaN);
    if (at < length && !faults.has(at)) faults.set(at, sentence(detail));
  }
  return faults;
}

const tooMany = ({ status, errors }) =>
  status === 413 || errors?.some(({ code }) => code === "batch_too_large" || code === "batch_exceeds_quota");
