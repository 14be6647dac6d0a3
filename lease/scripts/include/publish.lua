-- Tells processes of what was done to their ids.
--
-- A notification is PUBLISHed on passbuddy:inbox:<owner>: verb, expiry in ms (refuse: the capacity in force), token
-- in µs, now in µs, id, holders, with spaces between. With Config.Slots a grant's verb is grant=<slot>,<slot>…

local said = {} -- owner and message of each notification, published when all data is written

local function say(id, message)
  said[#said + 1] = string.match(id, '@([^#]+)') or ''
  said[#said + 1] = message .. ' ' .. whole(now) .. ' ' .. id .. ' ' .. holders
end

-- Publishes what was said, when all data is written: for a user who may not publish only the notifications are lost.
local function publish()
  local status = 0
  for i = 1, #said, 2 do
    local reply = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. said[i], said[i + 1])
    if type(reply) == 'table' and reply.err then
      status = MUTED
    end
  end
  return status
end
