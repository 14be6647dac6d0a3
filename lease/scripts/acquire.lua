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
-- retry are harmless. Cost when there is room: TIME, ZCARD, GET, ZADD, SET, and PEXPIRE for a new key.

local holders, fence = KEYS[1], KEYS[2]
local ttl, capacity, notAfter = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

if notAfter > 0 and now > notAfter then
  return {now, 1, capacity, 0, 0}
end

local expiry = expiryAfter(ttl)
local score = string.format('%.0f', expiry)
local held = redis.call('ZCARD', holders)
local created = held == 0
local purged, refused = false, false
local before, token

-- Tokens follow the server's clock and never stand still: a fence kept from before a step back wins.
local function nextToken()
  if not token then
    before = tonumber(redis.call('GET', fence) or 0) or 0
    token = before
  end
  token = math.max(now, token + 1)
  return token
end

local reply = {now, 0, capacity, 0, 0}
for i = 4, #ARGV do
  local id = ARGV[i]
  if held >= capacity and not purged then
    purge(holders)
    purged = true
    held = redis.call('ZCARD', holders)
    created = held == 0
  end
  local room = held < capacity
  if not room then
    local mine = redis.call('ZSCORE', holders, id)
    room = mine and mine * 1000 > now
  end
  if room then
    local t = nextToken()
    held = held + redis.call('ZADD', holders, 'GT', score, id)
    reply[#reply + 1] = expiry
    reply[#reply + 1] = t
  else
    refused = true
    reply[#reply + 1] = 0
    reply[#reply + 1] = 0
  end
end

if token then
  -- The lifetimes are refreshed at creation and when the hour changes: SET with KEEPTTL is cheaper.
  local hour = math.floor(now / 3600000000) ~= math.floor(before / 3600000000)
  if hour then
    redis.call('SET', fence, string.format('%.0f', token), 'PX', keep)
  else
    redis.call('SET', fence, string.format('%.0f', token), 'KEEPTTL')
  end
  if created or hour then
    redis.call('PEXPIRE', holders, keep)
  end
end

reply[4] = held
if refused then
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
  reply[5] = tonumber(first[2] or 0)
end
return reply
