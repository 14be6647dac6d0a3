-- renew: moves the expiry of the ids that are still held. Never adds one.
--
-- KEYS  1 holders   alone, so that a renewal is carried out while a slot of a Cluster moves
-- ARGV  1 ttl, 2 capacity
--       3… ids      at most 500
-- Reply integers: now in µs, the expiry in ms that every held id has now at least, status (as shared; 4: permits
--       were freed, and there may be somebody to promote), then the positions (from 1) of the ids that are not
--       held; negative: it was revoked.
-- Writes holders: expired permits go first, so that none is revived; an id that is not held is
-- removed before it is reported, so that a read-only replica answers READONLY and never "lost". An expiry is only
-- raised, whatever TTL the caller has, also after a step back of the clock: a call that comes late, or twice, takes
-- nothing from a later one. What lies too far ahead is drawn in by who needs it (include/longest.lua).
-- Cost: TIME, ZREMRANGEBYSCORE, one ZADD for all ids, PEXPIRE; one command more when an id is missing, was
-- renewed twice within a millisecond, or lies ahead after a step back.

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
-- What time has freed.

local purged = false -- once in a call is enough: its time stands still

-- Removes the permits whose time is up, a score counts while it is larger; returns how many.
local function purge()
  if purged then
    return 0
  end
  purged = true
  local n = redis.call('ZREMRANGEBYSCORE', holders, '-inf', whole(math.floor(now / 1000)))
  held = held - n
  return n
end

local expiry = later + ttl
local score = whole(expiry)
held = 0
local freed = purge()

local members, pairsOf = {}, {}
for i = 3, #ARGV do
  addMembers(members, ARGV[i], weightOf(ARGV[i]))
end
for i = 1, #members do
  pairsOf[2 * i - 1], pairsOf[2 * i] = score, members[i]
end

local reply = {now, expiry, 0}
if redis.call('ZADD', holders, 'XX', 'GT', 'CH', unpack(pairsOf)) < #members then
  local scores = redis.call('ZMSCORE', holders, unpack(members))
  local lost, at = {}, 0
  for i = 3, #ARGV do
    local weight, missing = weightOf(ARGV[i]), false
    for n = at + 1, at + weight do
      missing = missing or not scores[n]
    end
    if missing then
      local revoked = redis.call('ZSCORE', holders, 'revoked,' .. members[at + 1])
      reply[#reply + 1] = revoked and 2 - i or i - 2
      for n = at + 1, at + weight do
        lost[#lost + 1] = members[n]
      end
    end
    at = at + weight
  end
  if #lost > 0 then
    freed = freed + redis.call('ZREM', holders, unpack(lost))
  end
end
redis.call('PEXPIRE', holders, keep)

if freed > 0 then
  reply[3] = MORE
end
return reply
