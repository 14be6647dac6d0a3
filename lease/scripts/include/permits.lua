-- Shared: what an id takes, and what time has freed.

local LATE, MUTED, MORE, DETAILS = 1, 2, 4, 8
local maxWeight = 1000

local function whole(n) return string.format('%.0f', n) end

local function weightOf(id)
  local mark = string.find(id, '#', 1, true)
  return mark and tonumber(string.sub(id, mark + 1)) or 1
end

-- Adds the members of an id to list.
local function addMembers(list, id, weight)
  if weight == 1 then
    list[#list + 1] = id
    return
  end
  for n = 1, weight do
    list[#list + 1] = id .. ',' .. whole(n)
  end
end

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
