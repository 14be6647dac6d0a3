-- summarize: counts who holds and who waits, for a list of many semaphores. Writes nothing.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
-- Reply: now in µs, the override (-1: none), capacity and TTL in ms that the caller of the latest grant
--       declared (0: none), how many permits are held, the earliest expiry in ms (0: none), how many places the queue
--       has, how many callers wait; of the first of the queue who is alive: its arrival in µs (0: nobody) and weight; then
--       of the override: who set it, when in µs, why, and what it was before a pause (each empty: not known).
-- It looks at the first 100 places of the queue: of a longer one, more callers may wait than it says.

-- What the keys and the first arguments are, for all verbs. A part makes no function that the usual way through a
-- script does not need: Redis makes them all anew for each call.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
--       2 fence     string: <latest token in µs> <capacity> <TTL>, as the caller of that grant declared them;
--                   then the longest TTL of those who may hold or wait, where that is longer
--       3 queue     sorted set: member = id, score = arrival in µs
--       4 alive     sorted set: member = owner that waits, score = alive until, in ms
--       5 config    hash: capacity = the operator's override; by, at (µs), reason = who set it, when and why; before = the
--                   override that a pause interrupts; revoked = until when, in ms, there are revoked permits
--       6 callers   sorted set: member = owner, score = how many of its callers wait, where more wait than have a place
--                   in the queue; only where a call has to do with it
--       7 slots     hash: slot = member that got it last; only with Config.Slots. Who is not in holders any more has none
-- ARGV  1 ttl       ms, of the caller
--       2 capacity  that the caller declares
--
-- An id is <uuid>@<owner>, with :<label> before the @ where there is one, and #<weight> at its end when that is not 1. A
-- label may have spaces. It takes one member of holders for each permit: the id itself, or <id>,1 to <id>,<weight>.
--
-- Status, in every reply that has one, is the sum of: 1 the call ran past its notAfter and asked for nothing,
-- 2 a notification was not permitted, 4 there is more to promote, 8 (acquire) six integers more are at the end.

local holders, fence, queue, alive, config, callers, slots = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local ttl, capacity = ARGV[1] + 0, ARGV[2] + 0

local LATE, MUTED, MORE, DETAILS = 1, 2, 4, 8 -- of a status
local maxTTL = 86400000 -- ms; the longest that a caller can declare

-- How long holders and fence outlive their last use, in ms: a day, and the time within which nobody
-- refreshes it.
local keep = '90000000'

local held        -- how many members holders has, where a verb counts them
local waiting = 0 -- how many are in the queue, likewise

local function whole(n) return string.format('%.0f', n) end
-- Reads the server's clock, once per call.
local clock = redis.call('TIME')
local seconds, micros = clock[1], clock[2] -- as it says them
local now = seconds * 1000000 + micros     -- µs
local later = math.ceil(now / 1000)        -- ms, rounded up: Redis gives no permit away early
if #micros < 6 then
  micros = string.sub('00000' .. micros, -6)
end
-- What an id takes.

local maxWeight = 1000

local function weightOf(id)
  local mark = string.find(id, '#', 1, true)
  return mark and tonumber(string.sub(id, mark + 1)) or 1
end

-- Adds the members of an id to list.
local function addMembers(list, id, weight)
  if weight == 1 then
    list[#list + 1] = id
    return
  end
  for n = 1, weight do
    list[#list + 1] = id .. ',' .. n
  end
end

local set = redis.call('HMGET', config, 'capacity', 'by', 'at', 'reason', 'before')
local theirs, ms = string.match(redis.call('GET', fence) or '', '^%d+ (%d+) (%d+)')
local after = '(' .. whole(math.floor(now / 1000))
local held = redis.call('ZCOUNT', holders, after, '+inf')
local first = held > 0 and redis.call('ZRANGEBYSCORE', holders, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1) or {}

waiting = redis.call('ZCARD', queue)
local calling, lives, places = waiting, {}, {} -- by owner
local arrival, weight = 0, 0
if waiting > 0 then
  local heads = redis.call('ZRANGE', queue, 0, 99, 'WITHSCORES')
  for i = 1, #heads, 2 do
    local id = heads[i]
    local owner = string.match(id, '@([^#]+)') or ''
    if lives[owner] == nil then
      lives[owner] = (redis.call('ZSCORE', alive, owner) or 0) * 1000 > now
    end
    places[owner] = (places[owner] or 0) + 1
    if arrival == 0 and lives[owner] then
      arrival, weight = heads[i + 1] + 0, weightOf(id)
    end
  end
  local unseen = waiting - #heads / 2 -- places, which may be anybody's
  for owner, n in pairs(places) do
    calling = calling + math.max(0, (redis.call('ZSCORE', callers, owner) or 0) - n - unseen)
  end
end
return {
  now, tonumber(set[1] or '') or -1, (theirs or 0) + 0, (ms or 0) + 0, held, (first[2] or 0) + 0, waiting, calling, arrival, weight,
  {set[2] or '', set[3] or '', set[4] or '', set[5] or ''},
}
