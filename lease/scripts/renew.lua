-- renew: moves the expiry of the ids that are still held. Never adds one.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3… ids      at most 500
-- Reply integers: now in µs, the expiry in ms that every held id has now at least, status (as shared), then
--       the positions (from 1) of the ids that are not held; negative: it was revoked.
-- Writes holders: expired permits go first, so that none is revived; an id that is not held is
-- removed before it is reported, so that a read-only replica answers READONLY and never "lost".
-- Permits that are freed by that go to those who wait.
-- Cost: TIME, ZREMRANGEBYSCORE, one ZADD for all ids, PEXPIRE; more only when an id is missing or was
-- renewed twice within a millisecond, or something had expired.

local expiry = later + ttl
local score = whole(expiry)
held = 0
local freed = purge()

local members, pairsOf = {}, {}
for i = 3, #ARGV do
  addMembers(members, ARGV[i], weightOf(ARGV[i]))
end
for i = 1, #members do
  pairsOf[2 * i - 1], pairsOf[2 * i] = score, members[i]
end

local reply, statusAt = {now, expiry, 0}, 3
local moved = redis.call('ZADD', holders, 'XX', 'GT', 'CH', unpack(pairsOf))
if moved < #members then
  local scores = redis.call('ZMSCORE', holders, unpack(members))
  local lost, at = {}, 0
  for i = 3, #ARGV do
    local weight, missing = weightOf(ARGV[i]), false
    for n = at + 1, at + weight do
      missing = missing or not scores[n]
    end
    if missing then
      local revoked = redis.call('ZSCORE', holders, 'revoked,' .. members[at + 1])
      reply[#reply + 1] = revoked and 2 - i or i - 2
      for n = at + 1, at + weight do
        lost[#lost + 1] = members[n]
      end
    end
    at = at + weight
  end
  if #lost > 0 then
    freed = freed + redis.call('ZREM', holders, unpack(lost))
  end
end
redis.call('PEXPIRE', holders, keep)

if freed == 0 or redis.call('EXISTS', queue) == 0 then
  return reply
end
