-- acquire: grants a permit to each id that finds room.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
--       2 fence     string: the latest token, µs
-- ARGV  1 ttl       ms
--       2 capacity
--       3 notAfter  µs of this server's clock; past it nothing is granted; 0 = no limit
--       4… ids      at most 500, in order of arrival
-- Reply integers: now in µs, late (1: it ran past notAfter and did nothing), capacity, held,
--       earliest expiry in ms (0 when nobody was refused), then two per id: its expiry in ms
--       (0: refused) and its token in µs (0: refused).
-- Writes holders and fence, and only where something is granted or expired.
-- An id that is held already is granted again and never shortened: a lost reply and a client's own
-- retry are harmless. Cost when there is room: TIME, ZCARD, SET, ZADD, and PEXPIRE for a new key.

local holders, fence = KEYS[1], KEYS[2]
local capacity, notAfter = ARGV[2] + 0, ARGV[3] + 0

if notAfter > 0 and now > notAfter then
  return {now, 1, capacity, 0, 0}
end

local expiry = later + ARGV[1] -- later: now in ms, rounded up
local score = string.format('%.0f', expiry)
local held = redis.call('ZCARD', holders)
local created, purged, refused = held == 0, false, false
local token, hour -- of the latest grant; whether it is the first in this hour

local reply = {now, 0, capacity, 0, 0}
for i = 4, #ARGV do
  local id, n = ARGV[i], #reply
  if held >= capacity and not purged then
    redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)
    purged = true
    held = redis.call('ZCARD', holders)
    created = held == 0
  end
  local granted = held < capacity
  if not granted then
    local mine = redis.call('ZSCORE', holders, id)
    granted = mine and mine * 1000 > now
  end
  if granted then
    if token then
      token = token + 1
    else
      -- Tokens follow the server's clock and never stand still: a fence from before a step back wins.
      token = now
      local before = redis.call('SET', fence, string.format('%.0f', now), 'KEEPTTL', 'GET')
      before = before and tonumber(before) or 0
      hour = before - before % 3600000000 ~= now - now % 3600000000
      if before >= now then
        token = before + 1
      end
    end
    held = held + redis.call('ZADD', holders, 'GT', score, id)
    reply[n + 1], reply[n + 2] = expiry, token
  else
    refused = true
    reply[n + 1], reply[n + 2] = 0, 0
  end
end

if token then
  -- Lifetimes are set at creation and when the hour changes: keeping them is cheaper.
  if hour then
    redis.call('SET', fence, string.format('%.0f', token), 'PX', keep)
  elseif token ~= now then
    redis.call('SET', fence, string.format('%.0f', token), 'KEEPTTL')
  end
  if created or hour then
    redis.call('PEXPIRE', holders, keep)
  end
end

reply[4] = held
if refused then
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
  reply[5] = (first[2] or 0) + 0
end
return reply
