-- Shared by all verbs, joined in front of each: what the keys and the first arguments are, the server's
-- clock, weights, and the fence.
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

-- How long holders and fence outlive their last use, in ms: a day, and the time within which nobody
-- refreshes it.
local keep = '90000000'
local maxWeight = 1000

local function whole(n) return string.format('%.0f', n) end

local seconds, micros -- the server's clock, as it says it; read once per call
local now             -- µs
local later           -- ms, rounded up: Redis gives no permit away early
local function readClock()
  local clock = redis.call('TIME')
  seconds, micros = clock[1], clock[2]
  now = seconds * 1000000 + micros
  later = math.ceil(now / 1000)
end

local held -- how many members holders has, where a verb counts them

-- Removes the permits whose time is up, a score counts while it is larger; returns how many.
local function purge()
  local n = redis.call('ZREMRANGEBYSCORE', holders, '-inf', whole(math.floor(now / 1000)))
  held = held - n
  return n
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

local other -- what the fence said before this call's first grant, if its caller declared other limits
local aged  -- whether the lifetimes of fence and holders are due: every thousand seconds

-- Returns the first of n new tokens. They follow the server's clock and never stand still: a fence from
-- before a step back wins. The fence has as many digits as the clock, so that they compare as text.
local function takeTokens(n)
  local text = seconds .. string.sub('00000' .. micros, -6)
  local declared = ' ' .. ARGV[2] .. ' ' .. ARGV[1]
  local before = redis.call('SET', fence, text .. declared, 'KEEPTTL', 'GET')
  local first = now
  if before and before >= text then
    first = math.max(now, (string.match(before, '^%d+') or 0) + 1)
  end
  aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7)
  other = before and string.sub(before, -#declared) ~= declared and before
  if aged then
    redis.call('SET', fence, whole(first + n - 1) .. declared, 'PX', keep)
  elseif first + n - 1 ~= now then
    redis.call('SET', fence, whole(first + n - 1) .. declared, 'KEEPTTL')
  end
  return first
end

-- What the status in a reply is made of.
local LATE = 1    -- the call ran past its notAfter and asked for nothing
local MUTED = 2   -- a push was not permitted
local MORE = 4    -- there is more to promote
local DETAILS = 8 -- acquire: six integers more, at the end

-- Adds to an acquire's reply how full the semaphore is, and the capacity and the TTL in ms that the caller
-- of the grant before declared, if they are others (0: they are the same).
local function detail(reply, limit, waiting, first)
  local theirs, ms = string.match(other or '', ' (%d+) (%d+)$')
  local n = #reply
  reply[2] = reply[2] + DETAILS
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = limit, held, waiting, first
  reply[n + 5], reply[n + 6] = (theirs or 0) + 0, (ms or 0) + 0
  return reply
end
