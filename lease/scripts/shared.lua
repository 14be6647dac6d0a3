-- Shared by all verbs, joined in front of each: what the keys and the first arguments are, the server's
-- clock, weights, and how a permit is granted.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
--       2 fence     string: <latest token in µs> <capacity> <TTL>, as the caller of that grant declared them
--       3 queue     sorted set: member = id, score = arrival in µs
--       4 alive     sorted set: member = owner that waits, score = alive until, in ms
--       5 config    hash: capacity = the operator's override
-- ARGV  1 ttl       ms, of the caller
--       2 capacity  that the caller declares
--
-- An id is <uuid>@<owner>, and #<weight> at its end when that is not 1. It takes one member of holders
-- for each permit: the id itself, or <id>,1 to <id>,<weight>.

local holders, fence, queue, alive, config = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ttl, capacity = ARGV[1] + 0, ARGV[2] + 0

-- How long holders and fence outlive their last use, in ms: a day, and the hour within which nobody
-- refreshes it.
local keep = '90000000'
local maxWeight = 1000

local declared = ' ' .. ARGV[2] .. ' ' .. ARGV[1]

local function whole(n) return string.format('%.0f', n) end

local now     -- µs of the server's clock, read once per call
local later   -- ms, rounded up: Redis gives no permit away early
local expired -- ms: a score counts while it is larger
local function readClock()
  local clock = redis.call('TIME')
  now = clock[1] * 1000000 + clock[2]
  local floor = now / 1000
  floor = floor - floor % 1
  later = floor * 1000 == now and floor or floor + 1
  expired = whole(floor)
end

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

local held    -- how many members holders has; set before the first grant
local token   -- of the latest grant of this call
local created -- whether holders was made by this call
local hour    -- whether the latest grant before was in another hour
local before  -- what the fence said before

-- Takes the permits of an id, or extends those that it has; nothing is ever shortened. Returns its token.
local function grant(id, weight, expiry)
  if token then
    token = token + 1
  else
    -- Tokens follow the server's clock and never stand still: a fence from before a step back wins.
    token = now
    before = redis.call('SET', fence, whole(now) .. declared, 'KEEPTTL', 'GET')
    local latest = before and tonumber(string.match(before, '^%d+')) or 0
    hour = latest - latest % 3600000000 ~= now - now % 3600000000
    if latest >= now then
      token = latest + 1
    end
  end
  created = created or held == 0
  local score = whole(expiry)
  if weight == 1 then
    held = held + redis.call('ZADD', holders, 'GT', score, id)
    return token
  end
  local members, args = {}, {}
  addMembers(members, id, weight)
  for _, member in ipairs(members) do
    args[#args + 1] = score
    args[#args + 1] = member
  end
  held = held + redis.call('ZADD', holders, 'GT', unpack(args))
  return token
end

-- Ends what grant began. Lifetimes are set at creation and when the hour changes: keeping them is cheaper.
local function seal()
  if not token then
    return
  end
  local value = whole(token) .. declared
  if hour then
    redis.call('SET', fence, value, 'PX', keep)
  elseif token ~= now then
    redis.call('SET', fence, value, 'KEEPTTL')
  end
  if created or hour then
    redis.call('PEXPIRE', holders, keep)
  end
end

-- Removes the permits whose time is up; returns how many.
local function purge()
  local n = redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)
  held = held - n
  return n
end
