//! What Redis does at one stroke, in its Lua: between two of these lines nobody else comes.

/// Adds an entry, unless as many as may wait are there. Nothing is trimmed: somebody waits for what would be lost.
/// Keys: the stream. Arguments: the entry, how many milliseconds are left to it, the most entries, and how long a stream is
/// kept that nobody uses. Answers with how many there were, and the id.
pub(super) const ENQUEUE: &str = "
local there = redis.call('XLEN', KEYS[1])
if there >= tonumber(ARGV[3]) then return {there} end
local id = redis.call('XADD', KEYS[1], '*', 'e', ARGV[1], 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {there, id}";

/// Answers an entry, unless that was done or its caller has left. Keys: the stream, the answers of its API server.
/// Arguments: the group, the entry's id, the answer, how long answers are kept that nobody takes, and how many.
pub(super) const ANSWER: &str = "
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'a', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1";

/// Drops an entry without an answer. Keys: the stream. Arguments: the group, the id.
pub(super) const DROP: &str = "
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])";

/// Takes over the oldest entry whose worker has fallen silent. Keys: the stream, the dead letters. Arguments: the group, who
/// takes it, after how many milliseconds of silence, how often an entry is given out, how many dead letters are kept.
/// Answers with nothing; or with the id, what became of it ('gone', 'dead' or 'taken'), the entry, and what was left to it.
/// What nobody waits for any more is never dead. Its own, which it was given by an answer that never reached it, a worker gets
/// once more without that being counted: it lives.
pub(super) const TAKE_OVER: &str = "
local silent = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', 1)
if #silent == 0 then return {} end
local id, given = silent[1][1], silent[1][4]
local taken = {}
if silent[1][2] == ARGV[2] then
  given = 0
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  taken = redis.call('XRANGE', KEYS[1], id, id)
else
  taken = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], id)
end
if #taken == 0 then
  redis.call('XACK', KEYS[1], ARGV[1], id)
  return {id, 'gone'}
end
local entry, left = nil, 0
for i = 1, #taken[1][2], 2 do
  if taken[1][2][i] == 'e' then entry = taken[1][2][i + 1] end
  if taken[1][2][i] == 'd' then left = tonumber(taken[1][2][i + 1]) or 0 end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local added = tonumber(string.match(id, '^(%d+)'))
if added + left <= now or not entry then
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
  return {id, 'gone'}
end
if given >= tonumber(ARGV[4]) then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'e', entry, 's', KEYS[1], 'i', id, 'n', given)
  return {id, 'dead', entry, tostring(left)}
end
return {id, 'taken', entry, tostring(left)}";

/// Which entries are still there. Keys: the stream. Arguments: the ids. Answers with 1 or 0 for each.
pub(super) const ARE_THERE: &str = "
local there = {}
for i, id in ipairs(ARGV) do there[i] = #redis.call('XRANGE', KEYS[1], id, id) end
return there";

/// How many entries a stream has, and the id of its oldest. Keys: the stream.
pub(super) const LENGTH: &str = "
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return {redis.call('XLEN', KEYS[1]), first[1] and first[1][1] or ''}";

/// Lets a consumer go that holds nothing. Keys: the stream. Arguments: the group, the consumer.
pub(super) const LEAVE: &str = "
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #held > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])";

/// Forgets consumers that hold nothing and were silent for an hour. Keys: the stream. Arguments: the group.
pub(super) const TIDY: &str = "
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
for _, consumer in ipairs(consumers) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about['pending'] == 0 and about['idle'] > 3600000 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about['name'])
  end
end
return 1";
