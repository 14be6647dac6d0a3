-- resize: sets or removes the operator's override of the capacity, which wins over all that processes
-- declare. What it makes room for goes to those who wait; it takes nothing away.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 override  the capacity; pause: 0, until resume; resume: what was before the pause; empty: removed; more: as it
--                   is by now, after a reply that there is more to promote
--       4 by        who changes it
--       5 reason    why; may be empty
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

-- Sets or removes the override.
local function change(to)
  local known = redis.call('HMGET', config, 'capacity', 'before')
  local current, before = known[1], nil -- before: what a pause interrupts
  if to == 'resume' then
    if current ~= '0' then
      return -- nothing to resume
    end
    to = known[2] or ''
  elseif to == 'pause' then
    to, before = '0', current
    if current == '0' then
      before = known[2]
    end
  end
  if to == '' then
    redis.call('HDEL', config, 'capacity', 'before', 'by', 'at', 'reason')
    redis.call('PEXPIRE', config, keep) -- what revoke has left there
    return
  end
  redis.call('HSET', config, 'capacity', to, 'by', ARGV[4], 'at', seconds .. micros, 'reason', ARGV[5])
  if before then
    redis.call('HSET', config, 'before', before)
  else
    redis.call('HDEL', config, 'before')
  end
  redis.call('PERSIST', config)
end

if ARGV[3] ~= 'more' then
  change(ARGV[3])
end

if redis.call('EXISTS', slots) == 0 then
  slots = nil
end
held, waiting = redis.call('ZCARD', holders), redis.call('ZCARD', queue)
override()
local status = promote()
seal()
return {now, status + publish()}
