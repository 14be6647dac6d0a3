-- renew: moves the expiry of the ids that are still held. Never adds one.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
-- ARGV  1 ttl       ms
--       2… ids      at most 500
-- Reply integers: now in µs, the expiry in ms that every held id has now at least, then the
--       positions (from 1) of the ids that are not held.
-- Writes holders: expired permits go first, so that none is revived; an id that is not held is
-- removed before it is reported, so that a read-only replica answers READONLY and never "lost".
-- Cost: TIME, ZREMRANGEBYSCORE, one ZADD for all ids, PEXPIRE; ZMSCORE and ZREM only when one is
-- missing or was renewed twice within a millisecond.

local holders = KEYS[1]
local expiry = later + ARGV[1]
local score = string.format('%.0f', expiry)

redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)
local pairsOf, ids = {}, {}
for i = 2, #ARGV do
  pairsOf[#pairsOf + 1] = score
  pairsOf[#pairsOf + 1] = ARGV[i]
  ids[#ids + 1] = ARGV[i]
end

local reply = {now, expiry}
local moved = redis.call('ZADD', holders, 'XX', 'GT', 'CH', unpack(pairsOf))
if moved < #ids then
  local scores = redis.call('ZMSCORE', holders, unpack(ids))
  local lost = {}
  for i = 1, #ids do
    if not scores[i] then
      lost[#lost + 1] = ids[i]
      reply[#reply + 1] = i
    end
  end
  if #lost > 0 then
    redis.call('ZREM', holders, unpack(lost))
  end
end
redis.call('PEXPIRE', holders, keep)
return reply
