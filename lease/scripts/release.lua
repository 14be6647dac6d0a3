-- release: takes ids out of the holders, whoever asks.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
-- ARGV  1… ids      at most 500
-- Reply integers: one per id: 1 = it was there, 0 = it was not.
-- Writes holders. Cost: ZREM for one id; ZMSCORE and ZREM for more.

local holders = KEYS[1]
if #ARGV == 1 then
  return {redis.call('ZREM', holders, ARGV[1])}
end

local scores = redis.call('ZMSCORE', holders, unpack(ARGV))
redis.call('ZREM', holders, unpack(ARGV))
local reply = {}
for i = 1, #ARGV do
  reply[i] = scores[i] and 1 or 0
end
return reply
