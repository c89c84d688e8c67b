// What happened between two readings of /v1/stats, whose counters only grow.

// Figures of the time between `before` and `now`, which lie `seconds` apart; null where nothing happened. Returns null
// where the counters began anew: the server was started again.
export function between(before, now, seconds) {
  if (!before || now.uptime_seconds < before.uptime_seconds || now.total_requests < before.total_requests) return null;
  const models = now.models.map((model) =>
    modelBetween(
      before.models.find((other) => same(model, other)),
      model,
      seconds,
    ),
  );
  const [answered, cached] = ["answered", "cached"].map((name) => models.reduce((sum, model) => sum + model[name], 0));
  const latencies = rises(before.latency_buckets, now.latency_buckets);
  return {
    rate: (now.total_requests - before.total_requests) / seconds,
    refused: (now.refused_requests - before.refused_requests) / seconds,
    failed: (now.failed_requests - before.failed_requests) / seconds,
    latency: [0.5, 0.95, 0.99].map((q) => quantile(q, now.latency_buckets.le_ms, latencies)),
    hits: answered > 0 ? cached / answered : null,
    queue: now.queue_depth,
    // This reading is one itself.
    inFlight: Math.max(0, now.requests_in_flight - 1),
    models,
  };
}

const same = (one, other) => one.model === other.model && one.version === other.version;

function modelBetween(before, now, seconds) {
  const grown = (name) => Math.max(0, now.sources[name] - (before?.sources[name] ?? 0));
  const cached = grown("memory") + grown("redis");
  const answered = cached + grown("computed") + grown("collapsed");
  return {
    name: now.model,
    version: now.version,
    answered,
    cached,
    rate: answered / seconds,
    hits: answered > 0 ? cached / answered : null,
    inference: quantile(0.95, now.inference_buckets.le_ms, rises(before?.inference_buckets, now.inference_buckets)),
    batch: now.avg_batch_size,
    queue: now.queue_depth,
    predictions: now.predictions,
    failed: now.failed_predictions,
    drift: now.drift ?? null,
    features: now.features ?? [],
  };
}

const rises = (before, now) => now.cumulative.map((value, index) => value - (before?.cumulative[index] ?? 0));

// The value that a share `q` is below, interpolated in its bucket; null of nothing.
export function quantile(q, edges, cumulative) {
  const total = cumulative.at(-1) ?? 0;
  if (!(total > 0)) return null;
  const rank = q * total;
  const at = cumulative.findIndex((value) => value >= rank);
  const [low, below] = at > 0 ? [edges[at - 1], cumulative[at - 1]] : [0, 0];
  // Above the last edge nothing more is known than that.
  const high = edges[at] ?? edges.at(-1);
  return low + ((high - low) * (rank - below)) / Math.max(1, cumulative[at] - below);
}
