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

-- @include "shared": holders, queue, config, keep, whole, MUTED
-- @include "clock": now
-- @include "ids": weightOf, addMembers, maxWeight
-- @include "publish": say, publish

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
