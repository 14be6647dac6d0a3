-- inspect: shows who holds and who waits, page by page. Writes nothing.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 holders   rank of the first to show; negative: none
--       4 waiters   likewise
--       5 count     how many of each, at most 500
-- Reply: now in µs, the override (-1: none), capacity and TTL in ms that the caller of the latest grant
--       declared (0: none), how many members holders and queue have, then the page of holders as a list
--       (member, score, …), then that of waiters (id, arrival, the owner's alive-until in ms, how many of its
--       callers wait if that is more than have a place, …), then the slots (slot, the member that got it last, …),
--       then of the override: who set it, when in µs, why, and what it was before a pause (each empty: not known).

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

local set = redis.call('HMGET', config, 'capacity', 'by', 'at', 'reason', 'before')
local override = tonumber(set[1] or '') or -1
local latest = redis.call('GET', fence) or ''
local theirs, ms = string.match(latest, '^%d+ (%d+) (%d+)')
local function page(key, from)
  if from < 0 then
    return {}
  end
  return redis.call('ZRANGE', key, from, from + ARGV[5] - 1, 'WITHSCORES')
end

local waiters, until_, calling = {}, {}, {}
local found = page(queue, ARGV[4] + 0)
for i = 1, #found, 2 do
  local owner = string.match(found[i], '@([^#]+)') or ''
  until_[owner] = until_[owner] or redis.call('ZSCORE', alive, owner) or '0'
  calling[owner] = calling[owner] or redis.call('ZSCORE', callers, owner) or '0'
  waiters[#waiters + 1] = found[i]
  waiters[#waiters + 1] = found[i + 1]
  waiters[#waiters + 1] = until_[owner]
  waiters[#waiters + 1] = calling[owner]
end
return {
  now, override, (theirs or 0) + 0, (ms or 0) + 0, redis.call('ZCARD', holders), redis.call('ZCARD', queue),
  page(holders, ARGV[3] + 0), waiters, redis.call('HGETALL', slots), {set[2] or '', set[3] or '', set[4] or '', set[5] or ''},
}
