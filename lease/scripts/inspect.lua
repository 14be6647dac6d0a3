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

-- @include "shared": holders, fence, queue, alive, config, callers, slots
-- @include "clock": now

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
