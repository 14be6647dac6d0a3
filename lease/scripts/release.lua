-- release: takes ids out, and gives what they held to those who wait. Cancelling a wait is this call. The permits of a
-- plain release are out already: its process sends ZREM in front of this call, which then has no ids.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 flags     1: some of the ids may be in the queue, 2: promote (left out when an acquire, which
--                   promotes too, follows at once), 4: there are no ids
--       4… ids      at most 500; none: promote only
-- Reply integers: status (as shared).
-- Writes holders and queue; fence where it grants. A permit that was revoked goes by its other name.
-- Cost when nobody waits: ZREM, ZRANGE.

-- @include "shared": holders, fence, queue, alive, config, slots, ttl, capacity, keep, maxTTL, held, waiting, whole, MUTED, MORE
-- @include "ids": weightOf, addMembers, maxWeight

local flags = ARGV[3] + 0
if #ARGV > 3 then
  local members, ids = {}, {}
  for i = 4, #ARGV do
    addMembers(members, ARGV[i], weightOf(ARGV[i]))
    ids[#ids + 1] = ARGV[i]
  end
  if redis.call('ZREM', holders, unpack(members)) < #members then
    for i = 1, #members do
      members[i] = 'revoked,' .. members[i]
    end
    redis.call('ZREM', holders, unpack(members))
  end
  if flags % 2 == 1 then
    redis.call('ZREM', queue, unpack(ids))
  end
end

if flags >= 4 then
  -- When its memory is full, Redis refuses what takes memory, unless the script has begun to write.
  redis.call('ZREM', holders, '')
end
local nextWaiter = flags % 4 >= 2 and redis.call('ZRANGE', queue, 0, 0)[1]
if not nextWaiter then
  return {0}
end

-- @include "clock": seconds, micros, now, later

-- Returns where one permit is free and nextWaiter gets it.
-- @include "next_waiter"

-- @include "purge": purge
-- @include "longest": knownTTL, drawIn, drawInAlive
-- @include "slots": takeSlots
-- @include "grant": grant, seal, slotsOf
-- @include "publish": say, publish
-- @include "promote": promote, override

held, waiting = redis.call('ZCARD', holders), redis.call('ZCARD', queue)
override()
local status = promote()
seal()
return {status + publish()}
