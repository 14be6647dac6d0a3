-- Shared: the server's clock, read once per call. Joined in front of every verb. Writes nothing.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- µs
local ms = now / 1000
local whole = ms - ms % 1
local later = whole == ms and ms or whole + 1 -- ms, rounded up: Redis gives no permit away early
local expired = string.format('%.0f', whole) -- ms: a score counts while it is larger

-- How long a key outlives its last use, in ms: a day, and the hour within which nobody refreshes it.
local keep = '90000000'
