-- Shared: how release, renew and resize end when they may have made room. reply is the verb's, and its last
-- integer the status.

held, waiting = redis.call('ZCARD', holders), redis.call('ZCARD', queue)
override()
local status = promote()
seal()
reply[statusAt] = status + publish()
return reply
