-- release's hot path: what a command before has taken out left one permit free, nothing overrides the capacity,
-- and whoever waits longest asks for one permit and is alive. Otherwise it changes nothing, and the rest of the
-- script goes on; promote.lua says what a push is. Here every call and every piece of text counts.

if #ARGV == 3 then
  local id = redis.call('ZRANGE', queue, 0, 0)[1]
  if not id then
    return {0}
  end
  held = 0
  local others = redis.call('EXISTS', holders, config)
  if others > 0 then
    held = redis.call('ZCARD', holders)
    others = held > 0 and others - 1 or others -- 1: there is a config
  end
  local owner = string.sub(id, (string.find(id, '@', 1, true) or #id) + 1)
  if others == 0 and held == capacity - 1 and not string.find(owner, '#', 1, true) then
    local until_ = (redis.call('ZSCORE', alive, owner) or 0) + 0
    if until_ * 1000 > now then
      local text, declared = seconds .. micros, ' ' .. ARGV[2] .. ' ' .. ARGV[1]
      local before = redis.call('SET', fence, text .. declared, 'KEEPTTL', 'GET')
      if not before or before < text and string.sub(before, #text + 1) == declared then
        local expiry = string.format('%.0f', until_)
        redis.call('ZADD', holders, 'GT', expiry, id)
        redis.call('ZREM', queue, id)
        local aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7) -- every thousand seconds
        if aged then
          redis.call('PEXPIRE', fence, keep)
        end
        if held == 0 or aged then
          redis.call('PEXPIRE', holders, keep)
        end
        local push = 'grant ' .. expiry .. ' ' .. text .. ' ' .. text .. ' ' .. id .. ' ' .. holders
        local pushed = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. owner, push)
        return {type(pushed) == 'table' and pushed.err and 2 or 0} -- 2: not permitted
      end
      redis.call('SET', fence, before, 'KEEPTTL') -- it is ahead of the clock, or its caller declared other limits
    end
  end
end
