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

-- @include "shared": holders, ttl, keep, held, whole, MORE
-- @include "clock": now, later
-- @include "ids": weightOf, addMembers
-- @include "purge": purge

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
