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
/// takes it, after how many milliseconds of silence, how often an entry is given out, how many dead letters are kept, and how
/// many bytes an entry may have: a larger one was not written by an API server.
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
if added + left <= now or not entry or #entry > tonumber(ARGV[6]) then
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

/// Takes further entries, up to a number of bytes: XREADGROUP itself knows only a number of entries. Keys: the stream.
/// Arguments: the group, who takes them, how many, how many bytes, and how many one may have: a larger one was not written by an
/// API server, and is dropped.
pub(super) const TAKE_MORE: &str = "
local taken, bytes, count = {}, 0, 0
while count < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local read = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not read or read.err then break end
  local entry, size = read[1][2][1], 0
  for _, value in ipairs(entry[2] or {}) do size = size + #value end
  count = count + 1
  if size > tonumber(ARGV[5]) or #(entry[2] or {}) > 64 then
    redis.call('XACK', KEYS[1], ARGV[1], entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
  else
    bytes = bytes + size
    taken[#taken + 1] = entry
  end
end
return taken";

/// Reads the messages behind one, up to a number of bytes. Keys: the stream. Arguments: the id of that one, how many messages,
/// how many bytes, how many a field may have, and 1 when the first message is to come without its fields. A larger field
/// comes empty.
pub(super) const READ_ON: &str = "
local read, bytes, last = {}, 0, ARGV[1]
while #read < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  local message = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
  if not message then break end
  last = message[1]
  local fields = message[2]
  if #read == 0 and ARGV[5] == '1' or #fields > 64 then fields = {} end
  local size = 0
  for _, value in ipairs(fields) do size = size + #value end
  if size > tonumber(ARGV[4]) then
    size = 0
    for i, value in ipairs(fields) do
      if #value > 1024 then fields[i] = '' end
      size = size + #fields[i]
    end
  end
  bytes = bytes + size
  read[#read + 1] = {last, fields}
end
return read";

/// Deletes the messages at the head of a stream that have been read, and those behind them that are too large to be. Keys: the
/// stream. Arguments: the id of the last one that was read, and how many bytes a message may have.
pub(super) const TRIM: &str = "
for _ = 1, 100 do
  local message = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)[1]
  if not message then return redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) end
  local size = 0
  for _, value in ipairs(message[2]) do size = size + #value end
  if size <= tonumber(ARGV[2]) and #message[2] <= 64 then
    return redis.call('XTRIM', KEYS[1], 'MINID', message[1])
  end
  redis.call('XDEL', KEYS[1], message[1])
end
return 0";

/// Reads the heartbeats of workers, and forgets the names of those that have none. Keys: the set of names. Arguments: what the
/// keys of heartbeats begin with; how many names, how many workers, how many bytes of a name, of a heartbeat and of all
/// heartbeats are taken; and the names that go first. Answers with how many workers are left out, with the names of some of
/// them, and with each that is taken, followed by its heartbeat.
pub(super) const BEATS: &str = "
local names = redis.call('SRANDMEMBER', KEYS[1], ARGV[2])
table.sort(names)
local there, order = {}, {}
for _, name in ipairs(names) do there[name] = true end
for i = 7, #ARGV do
  if redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 1 then
    order[#order + 1] = ARGV[i]
    there[ARGV[i]] = nil
  end
end
for _, name in ipairs(names) do
  if there[name] then order[#order + 1] = name end
end
local left, count, left_out, found = tonumber(ARGV[6]), 0, {}, {}
for _, name in ipairs(order) do
  local size = 0
  if #name <= tonumber(ARGV[4]) then size = redis.pcall('STRLEN', ARGV[1] .. name) end
  if type(size) ~= 'number' or size == 0 then
    redis.call('SREM', KEYS[1], name)
  elseif size > tonumber(ARGV[5]) or size > left or #found >= 2 * tonumber(ARGV[3]) then
    count = count + 1
    if count <= 64 then left_out[count] = name end
  else
    left = left - size
    found[#found + 1] = name
    found[#found + 1] = redis.call('GET', ARGV[1] .. name)
  end
end
return {count, left_out, found}";
