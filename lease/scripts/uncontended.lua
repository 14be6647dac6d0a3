-- acquire's hot path: nobody waits, nothing overrides the capacity, and there is room for all. Otherwise
-- it does nothing, and acquire.lua goes on. It stands in front of what it does not need, so that Redis
-- does not make those functions for each call. acquire.lua says what the arguments and the reply are.

readClock()
local flags = ARGV[4] + 0
local notAfter = ARGV[3] + 0
local late = notAfter > 0 and now > notAfter
held = redis.call('ZCARD', holders)
local keys = redis.call('EXISTS', queue, config)
local asked = (#ARGV - 4) / 2
if keys == 0 and flags < 2 and not late and held + asked <= capacity then
  local token = takeTokens(asked)
  local expiry = later + ttl
  local score = whole(expiry)
  local reply = {now, 0, expiry, token}
  if asked == 1 then
    redis.call('ZADD', holders, 'GT', score, ARGV[5])
  else
    local args = {}
    for i = 5, #ARGV, 2 do
      args[#args + 1] = score
      args[#args + 1] = ARGV[i]
      reply[i - 2], reply[i - 1] = expiry, token + (i - 5) / 2
    end
    redis.call('ZADD', holders, 'GT', unpack(args))
  end
  if held == 0 or aged then
    redis.call('PEXPIRE', holders, keep)
  end
  if other then
    held = held + asked
    return detail(reply, capacity, 0, 0)
  end
  return reply
end
