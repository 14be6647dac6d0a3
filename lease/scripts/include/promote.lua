-- Gives free permits to those who have waited longest, and tells them.
--
-- Looks at the head of the queue: its owner is not alive: dropped. Heavier than an operator's capacity: dropped
-- and told; heavier than what this call's caller declares: it waits for a call of its own process, which may
-- declare more; that drops it too, where it does not: nobody else would, and everybody waits behind it. Fits: granted until its owner's alive-until, by its own TTL and not the caller's. Does not fit
-- yet: everybody behind it waits, so that a heavy request is not starved. At most 500 steps and about
-- 1,000 permits in one call; status says when there is more to do.

local limit = capacity -- in force
local overridden = false -- by an operator, and so for all

local function override()
  local n = tonumber(redis.call('HGET', config, 'capacity') or '')
  if n and n >= 0 then
    limit, overridden = n, true
  end
end

-- Takes out what the dead have left behind: owners by their time, and what a look at a few of the waiters
-- finds, wherever they stand. The head of the queue is promote's.
local function sweep()
  local dead = redis.call('ZRANGEBYSCORE', alive, '-inf', whole(math.floor(now / 1000)), 'LIMIT', 0, 100)
  if #dead > 0 then
    redis.call('ZREM', alive, unpack(dead))
  end
  if waiting < 100 then
    return
  end
  local gone, lives = {}, {}
  for _, id in ipairs(redis.call('ZRANDMEMBER', queue, 50)) do
    local owner = string.match(id, '@([^#]+)') or ''
    if lives[owner] == nil then
      lives[owner] = (tonumber(redis.call('ZSCORE', alive, owner) or 0)) * 1000 > now
    end
    if not lives[owner] then
      gone[#gone + 1] = id
    end
  end
  if #gone > 0 then
    waiting = waiting - redis.call('ZREM', queue, unpack(gone))
  end
end

-- own: the ids that this call speaks for; what becomes of them is written there, and not pushed. me: their owner.
local function promote(own, me)
  local status, steps, permits = 0, 0, 0
  local until_ = {} -- by owner
  if held >= limit and purge() == 0 then
    drawIn()
  end
  while held < limit and waiting > 0 do
    local n = math.min(limit - held, 100)
    local heads = redis.call('ZRANGE', queue, 0, n - 1)
    local gone, blocked = {}, false
    for _, id in ipairs(heads) do
      if permits >= 1000 then
        break
      end
      local owner, weight = string.match(id, '@([^#]+)') or '', weightOf(id)
      if not until_[owner] then
        until_[owner] = tonumber(redis.call('ZSCORE', alive, owner) or 0)
        if until_[owner] > later + ttl then
          until_[owner] = math.min(until_[owner], drawInAlive())
        end
      end
      if until_[owner] * 1000 <= now then
        gone[#gone + 1] = id
      elseif (overridden or owner == me) and weight > limit or weight > maxWeight then
        gone[#gone + 1] = id
        if own and own[id] then
          own[id] = {-1, 0}
        else
          say(id, 'refuse ' .. whole(limit) .. ' 0')
        end
      elseif held + weight <= limit then
        gone[#gone + 1] = id
        local fresh = grant(id, weight, until_[owner])
        permits = permits + weight
        if own and own[id] then
          own[id] = {until_[owner], fresh}
        else
          say(id, 'grant ' .. whole(until_[owner]) .. ' ' .. whole(fresh))
        end
      else
        blocked = true
        break
      end
    end
    if #gone > 0 then
      waiting = waiting - redis.call('ZREM', queue, unpack(gone))
    end
    steps = steps + #gone
    if blocked then
      if purge() == 0 then
        drawIn()
        break
      end
    elseif #heads == 0 then
      waiting = 0
    elseif steps >= 500 or permits >= 1000 then
      status = MORE
      break
    end
  end
  return status
end
