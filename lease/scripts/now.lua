-- Shared: the server's clock, read once per call, and the permits that it still counts.
-- Joined in front of every verb that needs the time. Writes nothing by itself.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- µs

-- The expiry of what is granted or renewed now, in ms. Rounded up: Redis never gives a permit away
-- earlier than a holder computes it from (expiry - now).
local function expiryAfter(ttl)
  return math.ceil(now / 1000) + ttl
end

-- Removes the permits whose time is up: a score counts while score * 1000 > now.
local function purge(holders)
  redis.call('ZREMRANGEBYSCORE', holders, '-inf', string.format('%.0f', math.floor(now / 1000)))
end

-- How long a key outlives its last use, in ms: a day, and the hour within which nobody refreshes it.
local keep = '90000000'
