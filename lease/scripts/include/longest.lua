-- What is left after the server's clock was set back. The expiry of a permit and the alive mark of a process
-- from before then lie ahead by as much as the step. A process that lives sets them anew, a dead one cannot. So a call
-- that finds no room, or a waiter whose process may be dead, sets what lies further ahead than the longest TTL to that.

-- Returns whether all permits are PassBuddy for Node's, which declare nothing. It looks at few only.
local function allOfNode()
  return held <= 100 and not string.find(table.concat(redis.call('ZRANGE', holders, 0, -1)), '@', 1, true)
end

-- Returns the longest TTL, in ms, of those who may hold or wait, as the fence says it. Where it says nothing, and
-- one of this library's permits is there, or somebody waits, it can be any.
local function knownTTL(before)
  if held == 0 and waiting == 0 then
    return 0 -- what the fence says is of those who have gone
  end
  local theirs, longest = string.match(before or '', '^%d+ %d+ (%d+) ?(%d*)$')
  if theirs then
    return math.max(theirs + 0, tonumber(longest) or 0)
  end
  if waiting == 0 and allOfNode() then
    return 0
  end
  return maxTTL
end

-- Has the fence know the TTL of the caller, who begins to wait.
local function declareTTL()
  local before = redis.call('GET', fence)
  local known = knownTTL(before)
  if not before then
    local longest = known > ttl and ' ' .. whole(known) or ''
    redis.call('SET', fence, '0 ' .. ARGV[2] .. ' ' .. ARGV[1] .. longest, 'PX', keep)
  elseif known < ttl then
    redis.call('SET', fence, string.match(before, '^%d+ ?%d* ?%d*') .. ' ' .. ARGV[1], 'KEEPTTL')
  end
end

-- Draws in what lies further ahead in key than any TTL: it is from before the clock was set back, and whoever it
-- belongs to trusts it for no longer than for a TTL from now. Returns where that is, in ms.
local function drawInOf(key, wanted)
  local far = whole(later + math.max(ttl, knownTTL(redis.call('GET', fence))))
  local args = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. far, '+inf', 'LIMIT', 0, 500)) do
    if string.find(member, wanted, 1, true) then
      args[#args + 1] = far
      args[#args + 1] = member
    end
  end
  if #args > 0 then
    redis.call('ZADD', key, unpack(args))
  end
  return far + 0
end

local drawn = false -- once in a call is enough

-- Does so for permits, where none is free; not for PassBuddy's own, whose scores are by other clocks.
local function drawIn()
  if drawn then
    return
  end
  drawn = true
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2]
  if last and last + 0 > later + ttl then
    drawInOf(holders, '@')
  end
end

-- Does so for those who wait, of whom one is ahead.
local function drawInAlive()
  return drawInOf(alive, '')
end
