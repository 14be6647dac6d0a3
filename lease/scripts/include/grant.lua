-- Grants one id after the other.

local declared -- what the fence says after the token
local other -- what the fence said before this call granted or refused anything, if its caller declared other limits
local aged  -- whether the lifetimes of fence and holders are due: every thousand seconds

-- Returns a new token, the first of this call. Tokens follow the server's clock and never stand still: a
-- fence from before a step back wins. It has as many digits as the clock, so that they compare as text.
local function firstToken()
  local text = seconds .. micros
  declared = ' ' .. ARGV[2] .. ' ' .. ARGV[1]
  local before = redis.call('SET', fence, text .. declared, 'KEEPTTL', 'GET')
  local first = now
  if before and before >= text then
    first = math.max(now, (string.match(before, '^%d+') or 0) + 1)
  end
  aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7)
  other = other or before and string.match(before, '^%d+( %d+ %d+)') ~= declared and before
  local says = ARGV[1] + 0 -- the caller's TTL, or that of whom it grants for
  local longest = math.max(ttl, knownTTL(before))
  if longest > says then
    declared = declared .. ' ' .. whole(longest)
  end
  if aged then
    redis.call('SET', fence, whole(first) .. declared, 'PX', keep)
  elseif first ~= now or longest > says then
    redis.call('SET', fence, whole(first) .. declared, 'KEEPTTL')
  end
  return first
end

local token   -- of the latest grant of this call
local oldest  -- and of the first, which the fence has
local created -- whether holders was made by this call
local slotsOf = {} -- by id, with Config.Slots
local given, soonest = 0, 0 -- how many permits this call has granted, and the earliest of their expiries

-- Takes the permits of an id, or extends those that it has; nothing is ever shortened. Returns its token.
local function grant(id, weight, expiry)
  oldest = oldest or firstToken()
  token = token and token + 1 or oldest
  created = created or held == 0
  soonest = given == 0 and expiry or math.min(soonest, expiry)
  given = given + weight
  local score = whole(expiry)
  if slots then
    local members = {}
    addMembers(members, id, weight)
    slotsOf[id] = takeSlots(members)
  end
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

-- Ends what grant began: the fence follows the latest token, and lifetimes are seen to.
local function seal()
  if not token then
    return
  end
  if token > oldest then
    redis.call('SET', fence, whole(token) .. declared, 'KEEPTTL')
  end
  if created or aged then
    redis.call('PEXPIRE', holders, keep)
  end
end
