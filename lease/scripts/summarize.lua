-- summarize: counts who holds and who waits, for a list of many semaphores. Writes nothing.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
-- Reply: now in µs, the override (-1: none), capacity and TTL in ms that the caller of the latest grant
--       declared (0: none), how many permits are held, the earliest expiry in ms (0: none), how many places the queue
--       has, how many callers wait; of the first of the queue who is alive: its arrival in µs (0: nobody) and weight; then
--       of the override: who set it, when in µs, why, and what it was before a pause (each empty: not known).
-- It looks at the first 100 places of the queue: of a longer one, more callers may wait than it says.

-- @include "shared": holders, fence, queue, alive, config, callers, waiting, whole
-- @include "clock": now
-- @include "ids": weightOf

local set = redis.call('HMGET', config, 'capacity', 'by', 'at', 'reason', 'before')
local theirs, ms = string.match(redis.call('GET', fence) or '', '^%d+ (%d+) (%d+)')
local after = '(' .. whole(math.floor(now / 1000))
local held = redis.call('ZCOUNT', holders, after, '+inf')
local first = held > 0 and redis.call('ZRANGEBYSCORE', holders, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1) or {}

waiting = redis.call('ZCARD', queue)
local calling, lives, places = waiting, {}, {} -- by owner
local arrival, weight = 0, 0
if waiting > 0 then
  local heads = redis.call('ZRANGE', queue, 0, 99, 'WITHSCORES')
  for i = 1, #heads, 2 do
    local id = heads[i]
    local owner = string.match(id, '@([^#]+)') or ''
    if lives[owner] == nil then
      lives[owner] = (redis.call('ZSCORE', alive, owner) or 0) * 1000 > now
    end
    places[owner] = (places[owner] or 0) + 1
    if arrival == 0 and lives[owner] then
      arrival, weight = heads[i + 1] + 0, weightOf(id)
    end
  end
  local unseen = waiting - #heads / 2 -- places, which may be anybody's
  for owner, n in pairs(places) do
    calling = calling + math.max(0, (redis.call('ZSCORE', callers, owner) or 0) - n - unseen)
  end
end
return {
  now, tonumber(set[1] or '') or -1, (theirs or 0) + 0, (ms or 0) + 0, held, (first[2] or 0) + 0, waiting, calling, arrival, weight,
  {set[2] or '', set[3] or '', set[4] or '', set[5] or ''},
}
