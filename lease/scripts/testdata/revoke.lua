-- revoke: takes a permit away from its holder. Its members get another name and keep their scores: the
-- holder's renewal does not find them, and nobody else gets the permit until the holder has released it
-- or its time is up.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 id
-- Reply integers: outcome (0: nobody holds it, 1: revoked, 2: it waits and holds nothing, 3: it was revoked
--       before), status (as shared).
-- Writes holders, and to config until when there are revoked permits: an acquire that comes late, or whose
-- reply was lost, must not grant the id again beside them.

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
-- Tells processes of what was done to their ids.
--
-- A notification is PUBLISHed on passbuddy:inbox:<owner>: verb, expiry in ms (refuse: the capacity in force), token
-- in µs, now in µs, id, holders, with spaces between. With Config.Slots a grant's verb is grant=<slot>,<slot>…

local said = {} -- owner and message of each notification, published when all data is written

local function say(id, message)
  said[#said + 1] = string.match(id, '@([^#]+)') or ''
  said[#said + 1] = message .. ' ' .. whole(now) .. ' ' .. id .. ' ' .. holders
end

-- Publishes what was said, when all data is written: for a user who may not publish only the notifications are lost.
local function publish()
  local status = 0
  for i = 1, #said, 2 do
    local reply = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. said[i], said[i + 1])
    if type(reply) == 'table' and reply.err then
      status = MUTED
    end
  end
  return status
end

local id = ARGV[3]
local members = {}
addMembers(members, id, math.min(weightOf(id), maxWeight))
local scores = redis.call('ZMSCORE', holders, unpack(members))
local args, until_ = {}, tonumber(redis.call('HGET', config, 'revoked') or 0)
for i = 1, #members do
  if scores[i] and scores[i] * 1000 > now then
    args[#args + 1] = scores[i]
    args[#args + 1] = 'revoked,' .. members[i]
    until_ = math.max(until_, scores[i] + 0)
  end
end
if #args == 0 then
  if redis.call('ZSCORE', holders, 'revoked,' .. members[1]) then
    return {3, 0}
  end
  return {redis.call('ZSCORE', queue, id) and 2 or 0, 0}
end
redis.call('ZADD', holders, unpack(args)) -- before the old names go, so that the key does not vanish
redis.call('ZREM', holders, unpack(members))
redis.call('HSET', config, 'revoked', whole(until_))
if not redis.call('HGET', config, 'capacity') then -- an override lasts, this does not
  redis.call('PEXPIRE', config, keep)
end
say(id, 'revoke 0 0')
return {1, publish()}
