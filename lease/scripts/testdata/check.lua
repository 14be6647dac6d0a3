-- check: runs each command that the other scripts run, and says which of them cannot be run. Manager.Ping calls it.
--
-- KEYS  as shared, of a semaphore that nobody uses
-- ARGV  1 ttl, 2 capacity
-- Reply: two strings for each command that failed: its name, and the error.
-- Writes queue and alive, and leaves nothing behind. What only operators, slots or notifications need is left out: HSET, HDEL,
-- HMGET, ZCOUNT, PERSIST, PUBLISH.

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

local failed = {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = name
    failed[#failed + 1] = reply.err
  end
end

try('TIME')
try('EXISTS', holders, queue, config)
try('HGET', config, 'capacity')
try('HGETALL', config)
try('SET', alive, 'x', 'PX', '1000', 'GET')
try('GET', alive)
try('PTTL', alive)
try('PEXPIRE', alive, '1000')
try('DEL', alive)
try('ZADD', queue, 'GT', '1', 'x')
try('ZCARD', queue)
try('ZSCORE', queue, 'x')
try('ZMSCORE', queue, 'x')
try('ZRANGE', queue, 0, 0)
try('ZRANGEBYSCORE', queue, '-inf', '0', 'LIMIT', 0, 1)
try('ZRANDMEMBER', queue, 1)
try('ZREMRANGEBYSCORE', queue, '-inf', '0')
try('ZREM', queue, 'x')
return failed
