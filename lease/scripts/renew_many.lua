-- renew_many: renews a few ids of each of many semaphores, which one server keeps. It does for each what renew does while
-- nothing is amiss, and says which of them renew has to see to.
--
-- KEYS  holders of each semaphore, at most 200
-- ARGV  1 ttl, then for each semaphore how many ids, and these; at most 500 permits in all
-- Reply integers: now in µs, how many follow, and positions (from 1) of semaphores. A positive one is for renew to see to: an
--       id is not held, or a command failed, which harms no other semaphore; one of several ids was renewed twice within a
--       millisecond, or lies ahead after a step back. A negative one: permits were freed there, and there may be somebody to
--       promote.
-- Writes holders: expired permits go first, so that none is revived. It sees to no key's lifetime: renew does.
-- Cost: TIME, and ZREMRANGEBYSCORE and ZADD for each semaphore; ZSCORE where ZADD raises nothing.

-- @include "clock": now, later
-- @include "ids": weightOf, addMembers

local score = string.format('%.0f', later + ARGV[1])
local past = string.format('%.0f', math.floor(now / 1000)) -- a permit counts while its score is larger

local call = redis.pcall -- which returns an error: one semaphore's harms no other

-- Raises what the arguments first to last are of a semaphore, and returns whether all of it is there, at least as high.
local function renew(holders, first, last)
  if first == last and weightOf(ARGV[first]) == 1 then -- the usual case
    local raised = call('ZADD', holders, 'XX', 'GT', 'CH', score, ARGV[first])
    return raised == 1
      or raised == 0 and type(call('ZSCORE', holders, ARGV[first])) == 'string' -- it lies ahead
  end
  local members, pairsOf = {}, {}
  for n = first, last do
    addMembers(members, ARGV[n], weightOf(ARGV[n]))
  end
  for n = 1, #members do
    pairsOf[2 * n - 1], pairsOf[2 * n] = score, members[n]
  end
  return call('ZADD', holders, 'XX', 'GT', 'CH', unpack(pairsOf)) == #members
end

local reply = {now, 0}
local at = 2 -- where the arguments of the next semaphore begin
for i = 1, #KEYS do
  local freed = call('ZREMRANGEBYSCORE', KEYS[i], '-inf', past)
  if freed ~= 0 and type(freed) == 'number' then
    reply[#reply + 1] = -i
  end
  local last = at + ARGV[at]
  if type(freed) ~= 'number' or not renew(KEYS[i], at + 1, last) then
    reply[#reply + 1] = i
  end
  at = last + 1
end
reply[2] = #reply - 2
return reply
