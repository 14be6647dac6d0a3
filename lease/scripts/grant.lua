-- Shared: grants one id after the other.

local token   -- of the latest grant of this call
local oldest  -- and of the first, which the fence has
local created -- whether holders was made by this call

-- Takes the permits of an id, or extends those that it has; nothing is ever shortened. Returns its token.
local function grant(id, weight, expiry)
  oldest = oldest or takeTokens(1)
  token = token and token + 1 or oldest
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

-- Ends what grant began: the fence follows the latest token, and lifetimes are seen to.
local function seal()
  if not token then
    return
  end
  if token > oldest then
    redis.call('SET', fence, whole(token) .. ' ' .. ARGV[2] .. ' ' .. ARGV[1], 'KEEPTTL')
  end
  if created or aged then
    redis.call('PEXPIRE', holders, keep)
  end
end
