-- What time has freed.

local purged = false -- once in a call is enough: its time stands still

-- Removes the permits whose time is up, a score counts while it is larger; returns how many.
local function purge()
  if purged then
    return 0
  end
  purged = true
  local n = redis.call('ZREMRANGEBYSCORE', holders, '-inf', whole(math.floor(now / 1000)))
  held = held - n
  return n
end
