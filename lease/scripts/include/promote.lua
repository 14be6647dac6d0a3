-- Gives free permits to those who have waited longest, and notifies them. What becomes of the head of the queue:
--
--   its owner is dead:                           it leaves the queue
--   heavier than an operator's capacity:         it leaves the queue and is notified
--   heavier than the capacity that its own       it leaves the queue and is notified; by a call of another
--     process declares:                          process, which may declare less, it stays, and all behind it wait
--   there is room:                               granted until its owner's alive-until: by its own TTL, not the caller's
--   there is no room yet:                        it stays, and all behind it wait: so a heavy request does not starve
--
-- At most 500 steps and about 1,000 permits in one call; status says when there is more to do.

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

-- own: the ids of this call, with their answers: they need no notification. me: their owner, unless others of it go by a
-- larger capacity.
local function promote(own, me)
  local status, steps, permits = 0, 0, 0
  local until_ = {} -- by owner
  if held >= limit and purge() == 0 then
    drawIn()
  end
  while held < limit and waiting > 0 do
    local n = math.min(limit - held, 100)
    local heads = redis.call('ZRANGE', queue, 0, n - 1)
    local leaving, blocked = {}, false -- leaving: granted, refused, or of a dead owner
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
        leaving[#leaving + 1] = id
      elseif (overridden or owner == me) and weight > limit or weight > maxWeight then
        leaving[#leaving + 1] = id
        if own and own[id] then
          own[id] = {-1, 0}
        else
          say(id, 'refuse ' .. whole(limit) .. ' 0')
        end
      elseif held + weight <= limit then
        leaving[#leaving + 1] = id
        local fresh = grant(id, weight, until_[owner])
        permits = permits + weight
        if own and own[id] then
          own[id] = {until_[owner], fresh}
        else
          local numbers = slotsOf[id] and '=' .. table.concat(slotsOf[id], ',') or ''
          say(id, 'grant' .. numbers .. ' ' .. whole(until_[owner]) .. ' ' .. whole(fresh))
        end
      else
        blocked = true
        break
      end
    end
    if #leaving > 0 then
      waiting = waiting - redis.call('ZREM', queue, unpack(leaving))
    end
    steps = steps + #leaving
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
