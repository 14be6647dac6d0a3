-- resize: sets or removes the operator's override of the capacity, which wins over all that processes
-- declare. What it makes room for goes to those who wait; it takes nothing away.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 override  0 pauses; empty: removed
-- Reply integers: now in µs, status (as shared).
-- Writes config; queue, holders and fence where it grants.

-- @include "shared": holders, fence, queue, alive, config, slots, ttl, capacity, keep, maxTTL, held, waiting, whole, MUTED, MORE
-- @include "clock": seconds, micros, now, later
-- @include "ids": weightOf, addMembers, maxWeight
-- @include "purge": purge
-- @include "longest": knownTTL, drawIn, drawInAlive
-- @include "slots": takeSlots
-- @include "grant": grant, seal, slotsOf
-- @include "publish": say, publish
-- @include "promote": promote, override

if ARGV[3] == '' then
  redis.call('HDEL', config, 'capacity')
  redis.call('PEXPIRE', config, keep) -- what revoke has left there
else
  redis.call('HSET', config, 'capacity', ARGV[3])
  redis.call('PERSIST', config)
end

if redis.call('EXISTS', slots) == 0 then
  slots = nil
end
held, waiting = redis.call('ZCARD', holders), redis.call('ZCARD', queue)
override()
local status = promote()
seal()
return {now, status + publish()}
