-- The hot path of an acquire: there is room for all, nobody waits, nothing overrides the capacity, and the fence only
-- moves on. Then it returns. Otherwise it changes nothing. Here every call and every piece of text counts.

local asked = (#ARGV - 5) / 2
held = 0
local others = redis.call('EXISTS', holders, queue, config)
if others > 0 then
  held = redis.call('ZCARD', holders)
  others = held > 0 and others - 1 or others -- how many of queue and config
end
if others == 0 and flags % 4 < 2 and flags < 16 and not late and held + asked <= capacity then
  local text, declared = seconds .. micros, ' ' .. ARGV[2] .. ' ' .. ARGV[1]
  local latest = asked == 1 and text or string.format('%.0f', now + asked - 1)
  local before = redis.call('SET', fence, latest .. declared, 'KEEPTTL', 'GET')
  if not before and held == 0 or before and before < text and string.sub(before, #text + 1) == declared then
    local expiry = later + ttl
    local score = string.format('%.0f', expiry)
    local reply = {now, 0, expiry, now}
    if asked == 1 then
      redis.call('ZADD', holders, 'GT', score, ARGV[6])
    else
      local args = {}
      for i = 6, #ARGV, 2 do
        args[#args + 1] = score
        args[#args + 1] = ARGV[i]
        reply[i - 3], reply[i - 2] = expiry, now + (i - 6) / 2
      end
      redis.call('ZADD', holders, 'GT', unpack(args))
    end
    local aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7) -- every thousand seconds
    if aged then
      redis.call('PEXPIRE', fence, keep)
    end
    if held == 0 or aged then
      redis.call('PEXPIRE', holders, keep)
    end
    return reply
  end
  if before then
    redis.call('SET', fence, before, 'KEEPTTL') -- it is ahead of the clock, or its caller declared other limits
  else
    redis.call('DEL', fence)
  end
end
