-- release: takes ids out of the holders, whoever asks.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
-- ARGV  1… ids      at most 500
-- Reply integers: how many were there.
-- Writes holders. Cost: one ZREM.

return {redis.call('ZREM', KEYS[1], unpack(ARGV))}
