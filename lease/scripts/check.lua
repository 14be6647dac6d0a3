-- check: runs each command that the other scripts run, and says which of them cannot be run. Manager.Ping calls it.
--
-- KEYS  as shared, of a semaphore that nobody uses
-- ARGV  1 ttl, 2 capacity
-- Reply: two strings for each command that failed: its name, and the error.
-- Writes queue and alive, and leaves nothing behind. What only operators, slots or notifications need is left out: HSET, HDEL,
-- HMGET, ZCOUNT, PERSIST, PUBLISH.

-- @include "shared": holders, fence, queue, alive, config

local failed = {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = name
    failed[#failed + 1] = reply.err
  end
end

try('TIME')
try('EXISTS', holders, queue, config)
try('HGET', config, 'capacity')
try('HGETALL', config)
try('SET', alive, 'x', 'PX', '1000', 'GET')
try('GET', alive)
try('PTTL', alive)
try('PEXPIRE', alive, '1000')
try('DEL', alive)
try('ZADD', queue, 'GT', '1', 'x')
try('ZCARD', queue)
try('ZSCORE', queue, 'x')
try('ZMSCORE', queue, 'x')
try('ZRANGE', queue, 0, 0)
try('ZRANGEBYSCORE', queue, '-inf', '0', 'LIMIT', 0, 1)
try('ZRANDMEMBER', queue, 1)
try('ZREMRANGEBYSCORE', queue, '-inf', '0')
try('ZREM', queue, 'x')
return failed
