"""The server-side scripts: each compares and changes the items of one key at once, so that no newer write is lost.

Arguments are flat: a few for the key, then as many for each item as its script says.
"""

from __future__ import annotations

_STREAM = """
-- A stream takes no entry before its last one, so it is written anew as it was: entries, groups, pending ones, TTL.
local function rewrite(key, replaced)
  for command in string.gmatch('DEL XADD XSETID XGROUP|CREATE XGROUP|CREATECONSUMER XCLAIM PEXPIRE', '%S+') do
    local name, sub = string.match(command, '^(%a+)|?(%a*)$')
    if not redis.acl_check_cmd(unpack(sub == '' and {name, key} or {name, sub, key})) then
      return redis.error_reply('NOPERM may not call ' .. command)
    end
  end
  local function fields(flat)
    local named = {}
    for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
    return named
  end
  local entries = redis.call('XRANGE', key, '-', '+')
  for _, entry in ipairs(entries) do
    if #entry[2] > 4000 then return redis.error_reply('TOOWIDE an entry has too many fields') end
  end
  local stream = fields(redis.call('XINFO', 'STREAM', key))
  local ttl = redis.call('PTTL', key)
  local groups = redis.call('XINFO', 'GROUPS', key)
  for i, flat in ipairs(groups) do
    local group = fields(flat)
    group.consumers = redis.call('XINFO', 'CONSUMERS', key, group.name)
    group.waiting = redis.call('XPENDING', key, group.name, '-', '+', math.max(group.pending, 1))
    groups[i] = group
  end
  redis.call('DEL', key)
  for _, entry in ipairs(entries) do
    local flat = entry[2]
    for at, text in pairs(replaced[entry[1]] or {}) do flat[at] = text end
    redis.call('XADD', key, entry[1], unpack(flat))
  end
  redis.call('XSETID', key, stream['last-generated-id'], 'ENTRIESADDED', stream['entries-added'],
    'MAXDELETEDID', stream['max-deleted-entry-id'])
  for _, group in ipairs(groups) do
    local create = {'XGROUP', 'CREATE', key, group.name, group['last-delivered-id']}
    if group['entries-read'] then
      create[6], create[7] = 'ENTRIESREAD', group['entries-read']
    end
    redis.call(unpack(create))
    for _, flat in ipairs(group.consumers) do
      redis.call('XGROUP', 'CREATECONSUMER', key, group.name, fields(flat).name)
    end
    for _, waiting in ipairs(group.waiting) do
      redis.call('XCLAIM', key, group.name, waiting[2], 0, waiting[1], 'IDLE', waiting[3],
        'RETRYCOUNT', waiting[4], 'FORCE', 'JUSTID')
    end
  end
  if ttl > 0 then redis.call('PEXPIRE', key, ttl) end
  return nil
end

local function split(at)
  local entry, number = string.match(at, '^(.*)/(%d+)$')
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  return entry, tonumber(number), found and found[2][tonumber(number)]
end
"""

_HASH = """
-- A write to a field takes its own TTL away, where the server knows of such.
local function put(key, field, value, from)
  local until_ = redis.pcall('HPEXPIRETIME', key, 'FIELDS', 1, from)
  redis.call('HSET', key, field, value)
  if not until_.err and until_[1] and until_[1] > 0 then
    redis.call('HPEXPIREAT', key, until_[1], 'FIELDS', 1, field)
  end
end
"""

ERASE = (
    _STREAM
    + _HASH
    + """
-- KEYS: the key. ARGV: its type, a text nobody uses; then of each item: field, at, text, '1' or '0', mask.
-- Answers 1 for each item that was as given and is changed now, else 0.
local key, kind, nobody = KEYS[1], ARGV[1], ARGV[2]
local answers, replaced, gone, changes, holes = {}, {}, {}, 0, 0
local fit = redis.call('TYPE', key).ok == kind
for i = 3, #ARGV, 5 do
  local field, at, text, mask, done = ARGV[i], ARGV[i + 1], ARGV[i + 2], nil, 0
  if ARGV[i + 3] == '1' then mask = ARGV[i + 4] end
  if not fit then
  elseif kind == 'string' then
    if redis.call('GET', key) == text then
      if mask then redis.call('SET', key, mask, 'KEEPTTL') else redis.call('DEL', key) end
      done = 1
    end
  elseif kind == 'hash' and at == 'value' then
    if redis.call('HGET', key, field) == text then
      if mask then put(key, field, mask, field) else redis.call('HDEL', key, field) end
      done = 1
    end
  elseif kind == 'hash' then
    local value = redis.call('HGET', key, text)
    if value then
      if mask then put(key, mask, value, text) end
      redis.call('HDEL', key, text)
      done = 1
    end
  elseif kind == 'set' then
    if redis.call('SISMEMBER', key, text) == 1 then
      if mask then redis.call('SADD', key, mask) end
      redis.call('SREM', key, text)
      done = 1
    end
  elseif kind == 'zset' then
    local score = redis.call('ZSCORE', key, text)
    if score then
      if mask then redis.call('ZADD', key, score, mask) end
      redis.call('ZREM', key, text)
      done = 1
    end
  elseif kind == 'list' then
    if redis.call('LINDEX', key, at) == text then
      redis.call('LSET', key, at, mask or nobody)
      if not mask then holes = holes + 1 end
      done = 1
    end
  elseif mask then
    local entry, number, found = split(at)
    if found == text then
      replaced[entry] = replaced[entry] or {}
      replaced[entry][number] = mask
      changes, done = changes + 1, 1
    end
  else
    local entry = string.match(at, '^(.*)/')
    if not gone[entry] then gone[entry] = redis.call('XDEL', key, entry) end
    done = gone[entry]
  end
  answers[#answers + 1] = done
end
if holes > 0 then redis.call('LREM', key, 0, nobody) end
if changes > 0 then
  local refused = rewrite(key, replaced)
  if refused then return refused end
end
return answers
"""
)

RESTORE = (
    _STREAM
    + _HASH
    + """
-- KEYS: the key. ARGV: its type, its TTL then in ms (-1 none, 0 over by now); then of each item: field, at, text,
-- '1' or '0', mask, payload, the TTL of its field. Answers 2 restored, 1 as before, 0 changed by somebody else.
local key, kind, ttl = KEYS[1], ARGV[1], tonumber(ARGV[2])
local answers, replaced, changes = {}, {}, 0
local there = redis.call('TYPE', key).ok
local fit = there == kind or (there == 'none' and ttl ~= 0)
for i = 3, #ARGV, 7 do
  local field, at, text, mask, done = ARGV[i], ARGV[i + 1], ARGV[i + 2], nil, 0
  local payload, lasts = ARGV[i + 5], tonumber(ARGV[i + 6])
  if ARGV[i + 3] == '1' then mask = ARGV[i + 4] end
  local function add(name, value)
    if lasts == 0 then return 0 end
    redis.call('HSET', key, name, value)
    if lasts > 0 then redis.call('HPEXPIRE', key, lasts, 'FIELDS', 1, name) end
    return 2
  end
  if not fit then
  elseif kind == 'string' then
    local now = redis.call('GET', key)
    if now == text then done = 1
    elseif now == (mask or false) then redis.call('SET', key, text, 'KEEPTTL') done = 2 end
  elseif kind == 'hash' and at == 'value' then
    local now = redis.call('HGET', key, field)
    if now == text then done = 1
    elseif not now and not mask then done = add(field, text)
    elseif now and now == mask then put(key, field, text, field) done = 2 end
  elseif kind == 'hash' then
    local now, hidden = redis.call('HGET', key, text), mask and redis.call('HGET', key, mask)
    if now then
      if not hidden and (mask or now == payload) then done = 1 end
    elseif not mask then done = add(text, payload)
    elseif hidden then
      put(key, text, hidden, mask)
      redis.call('HDEL', key, mask)
      done = 2
    end
  elseif kind == 'set' then
    local now, hidden = redis.call('SISMEMBER', key, text) == 1, mask and redis.call('SISMEMBER', key, mask) == 1
    if now then
      if not hidden then done = 1 end
    elseif hidden or not mask then
      redis.call('SADD', key, text)
      if mask then redis.call('SREM', key, mask) end
      done = 2
    end
  elseif kind == 'zset' then
    local now, hidden = redis.call('ZSCORE', key, text), mask and redis.call('ZSCORE', key, mask)
    if now then
      if not hidden and (mask or tonumber(now) == tonumber(payload)) then done = 1 end
    elseif hidden or not mask then
      redis.call('ZADD', key, hidden or payload, text)
      if mask then redis.call('ZREM', key, mask) end
      done = 2
    end
  elseif kind == 'list' then
    local place = mask and (redis.call('LINDEX', key, at) == mask and at or redis.call('LPOS', key, mask))
    if place then redis.call('LSET', key, place, text) done = 2
    elseif redis.call('LPOS', key, text) then done = 1 end
  else
    local entry, number, found = split(at)
    if found == text then done = 1
    elseif mask and found == mask then
      replaced[entry] = replaced[entry] or {}
      replaced[entry][number] = text
      changes, done = changes + 1, 2
    end
  end
  answers[#answers + 1] = done
end
if changes > 0 then
  local refused = rewrite(key, replaced)
  if refused then return refused end
end
if there == 'none' and ttl > 0 then redis.call('PEXPIRE', key, ttl) end
return answers
"""
)
