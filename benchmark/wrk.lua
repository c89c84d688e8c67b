-- What wrk sends: the bodies of a file, one per line, in turn, with the keys of another file in turn. With one of each, wrk
-- sends the same bytes again and again without asking this script. A file with tensors in binary is one body, whatever lines
-- are in it. At the end, one line of JSON with exact percentiles.

local function lines(path)
  local found = {}
  for line in io.lines(path) do found[#found + 1] = line end
  return found
end

local function whole(path)
  local file = assert(io.open(path, "rb"))
  local found = file:read("*a")
  file:close()
  return { found }
end

local json_length = tonumber(os.getenv("BENCH_JSON_LENGTH") or 0)
local bodies = (json_length > 0 and whole or lines)(os.getenv("BENCH_BODIES"))
local keys = lines(os.getenv("BENCH_KEYS"))
local requests, at = {}, 0

wrk.method = "POST"
wrk.headers["Content-Type"] = json_length > 0 and "application/octet-stream" or "application/json"
if json_length > 0 then wrk.headers["Inference-Header-Content-Length"] = tostring(json_length) end
wrk.headers["X-API-Key"] = keys[1]
wrk.body = bodies[1]

if #bodies > 1 or #keys > 1 then
  function request()
    at = at % #requests + 1
    return requests[at]
  end
end

local started = 0

function setup(thread)
  thread:set("offset", started)
  started = started + 1
end

function init()
  if #bodies == 1 and #keys == 1 then return end
  for index = 1, math.max(#bodies, #keys) do
    wrk.headers["X-API-Key"] = keys[(index - 1) % #keys + 1]
    requests[index] = wrk.format(nil, nil, nil, bodies[(index - 1) % #bodies + 1])
  end
  -- Threads begin at different places, so that the same body is not sent twice at the same time.
  at = math.floor(#requests * (offset or 0) / 7)
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"failed":%d,"bytes":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration / 1e6, failed, summary.bytes, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9), latency.max))
end
