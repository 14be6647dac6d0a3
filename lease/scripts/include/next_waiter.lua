-- The hot path of a promotion: one permit is free, nothing overrides the capacity, and nextWaiter, who waits longest,
-- asks for one permit and is alive, and there are no slots. Then it gets it, is told (promote.lua says how), and the call returns. Otherwise
-- nothing changes. Here every call and every piece of text counts.

held = 0
local others = redis.call('EXISTS', holders, config)
if others > 0 then
  held = redis.call('ZCARD', holders)
  others = held > 0 and others - 1 or others -- 1: there is a config
end
if others == 0 and held == capacity - 1 and not slots then
  -- With the weight at its end, where that is more than 1: nobody of such a name is alive.
  local owner = string.sub(nextWaiter, (string.find(nextWaiter, '@', 1, true) or #nextWaiter) + 1)
  local until_ = (redis.call('ZSCORE', alive, owner) or 0) + 0
  if until_ * 1000 > now and until_ <= later + ttl then
    local text, declared = seconds .. micros, ' ' .. ARGV[2] .. ' ' .. ARGV[1]
    local before = redis.call('SET', fence, text .. declared, 'KEEPTTL', 'GET')
    if before and before < text and string.sub(before, #text + 1) == declared then
      local expiry = whole(until_)
      redis.call('ZADD', holders, 'GT', expiry, nextWaiter)
      redis.call('ZREM', queue, nextWaiter)
      local aged = string.sub(before, 1, 7) ~= string.sub(text, 1, 7) -- every thousand seconds
      if aged then
        redis.call('PEXPIRE', fence, keep)
      end
      if held == 0 or aged then
        redis.call('PEXPIRE', holders, keep)
      end
      local message = 'grant ' .. expiry .. ' ' .. text .. ' ' .. text .. ' ' .. nextWaiter .. ' ' .. holders
      local published = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. owner, message)
      return {type(published) == 'table' and published.err and MUTED or 0}
    end
    if before then
      redis.call('SET', fence, before, 'KEEPTTL') -- it is ahead of the clock, or its caller declared other limits
    else
      redis.call('DEL', fence)
    end
  end
end
