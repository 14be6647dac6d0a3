-- resize: sets or removes the operator's override of the capacity, which wins over all that processes
-- declare. What it makes room for goes to those who wait; it takes nothing away.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 override  the capacity; pause: 0, until resume; resume: what was before the pause; empty: removed; more: as it
--                   is by now, after a reply that there is more to promote
--       4 by        who changes it
--       5 reason    why; may be empty
-- Reply integers: now in µs, status (as shared).
-- Writes config; queue, holders and fence where it grants.

-- What the keys and the first arguments are, for all verbs. A part makes no function that the usual way through a
-- script does not need: Redis makes them all anew for each call.
--
-- KEYS  1 holders   sorted set: member = id, score = expiry in ms
--       2 fence     string: <latest token in µs> <capacity> <TTL>, as the caller of that grant declared them;
--                   then the longest TTL of those who may hold or wait, where that is longer
--       3 queue     sorted set: member = id, score = arrival in µs
--       4 alive     sorted set: member = owner that waits, score = alive until, in ms
--       5 config    hash: capacity = the operator's override; by, at (µs), reason = who set it, when and why; before = the
--                   override that a pause interrupts; revoked = until when, in ms, there are revoked permits
--       6 callers   sorted set: member = owner, score = how many of its callers wait, where more wait than have a place
--                   in the queue; only where a call has to do with it
--       7 slots     hash: slot = member that got it last; only with Config.Slots. Who is not in holders any more has none
-- ARGV  1 ttl       ms, of the caller
--       2 capacity  that the caller declares
--
-- An id is <uuid>@<owner>, with :<label> before the @ where there is one, and #<weight> at its end when that is not 1. A
-- label may have spaces. It takes one member of holders for each permit: the id itself, or <id>,1 to <id>,<weight>.
--
-- Status, in every reply that has one, is the sum of: 1 the call ran past its notAfter and asked for nothing,
-- 2 a notification was not permitted, 4 there is more to promote, 8 (acquire) six integers more are at the end.

local holders, fence, queue, alive, config, callers, slots = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local ttl, capacity = ARGV[1] + 0, ARGV[2] + 0

local LATE, MUTED, MORE, DETAILS = 1, 2, 4, 8 -- of a status
local maxTTL = 86400000 -- ms; the longest that a caller can declare

-- How long holders and fence outlive their last use, in ms: a day, and the time within which nobody
-- refreshes it.
local keep = '90000000'

local held        -- how many members holders has, where a verb counts them
local waiting = 0 -- how many are in the queue, likewise

local function whole(n) return string.format('%.0f', n) end
-- Reads the server's clock, once per call.
local clock = redis.call('TIME')
local seconds, micros = clock[1], clock[2] -- as it says them
local now = seconds * 1000000 + micros     -- µs
local later = math.ceil(now / 1000)        -- ms, rounded up: Redis gives no permit away early
if #micros < 6 then
  micros = string.sub('00000' .. micros, -6)
end
-- What an id takes.

local maxWeight = 1000

local function weightOf(id)
  local mark = string.find(id, '#', 1, true)
  return mark and tonumber(string.sub(id, mark + 1)) or 1
end

-- Adds the members of an id to list.
local function addMembers(list, id, weight)
  if weight == 1 then
    list[#list + 1] = id
    return
  end
  for n = 1, weight do
    list[#list + 1] = id .. ',' .. n
  end
end
-- What time has freed.

local purged = false -- once in a call is enough: its time stands still

-- Removes the permits whose time is up, a score counts while it is larger; returns how many.
local function purge()
  if purged then
    return 0
  end
  purged = true
  local n = redis.call('ZREMRANGEBYSCORE', holders, '-inf', whole(math.floor(now / 1000)))
  held = held - n
  return n
end
-- What is left after the server's clock was set back. The expiry of a permit and the alive mark of a process
-- from before then lie ahead by as much as the step. A process that lives sets them anew, a dead one cannot. So a call
-- that finds no room, or a waiter whose process may be dead, sets what lies further ahead than the longest TTL to that.

-- Returns whether all permits are PassBuddy for Node's, which declare nothing. It looks at few only.
local function allOfNode()
  return held <= 100 and not string.find(table.concat(redis.call('ZRANGE', holders, 0, -1)), '@', 1, true)
end

-- Returns the longest TTL, in ms, of those who may hold or wait, as the fence says it. Where it says nothing, and
-- one of this library's permits is there, or somebody waits, it can be any.
local function knownTTL(before)
  if held == 0 and waiting == 0 then
    return 0 -- what the fence says is of those who have gone
  end
  local theirs, longest = string.match(before or '', '^%d+ %d+ (%d+) ?(%d*)$')
  if theirs then
    return math.max(theirs + 0, tonumber(longest) or 0)
  end
  if waiting == 0 and allOfNode() then
    return 0
  end
  return maxTTL
end

-- Has the fence know the TTL of the caller, who begins to wait.
local function declareTTL()
  local before = redis.call('GET', fence)
  local known = knownTTL(before)
  if not before then
    local longest = known > ttl and ' ' .. whole(known) or ''
    redis.call('SET', fence, '0 ' .. ARGV[2] .. ' ' .. ARGV[1] .. longest, 'PX', keep)
  elseif known < ttl then
    redis.call('SET', fence, string.match(before, '^%d+ ?%d* ?%d*') .. ' ' .. ARGV[1], 'KEEPTTL')
  end
end

-- Draws in what lies further ahead in key than any TTL: it is from before the clock was set back, and whoever it
-- belongs to trusts it for no longer than for a TTL from now. Returns where that is, in ms.
local function drawInOf(key, wanted)
  local far = whole(later + math.max(ttl, knownTTL(redis.call('GET', fence))))
  local args = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. far, '+inf', 'LIMIT', 0, 500)) do
    if string.find(member, wanted, 1, true) then
      args[#args + 1] = far
      args[#args + 1] = member
    end
  end
  if #args > 0 then
    redis.call('ZADD', key, unpack(args))
  end
  return far + 0
end

local drawn = false -- once in a call is enough

-- Does so for permits, where none is free; not for PassBuddy's own, whose scores are by other clocks.
local function drawIn()
  if drawn then
    return
  end
  drawn = true
  local last = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2]
  if last and last + 0 > later + ttl then
    drawInOf(holders, '@')
  end
end

-- Does so for those who wait, of whom one is ahead.
local function drawInAlive()
  return drawInOf(alive, '')
end
-- Which slots the permits have. A slot is taken while the member that got it last is held: a release need not say so.

local slotOf, taken -- by member, and by slot; as this call found them, and has changed them since
local staleOf       -- by member that is not held: the slot that it had

local function lookAtSlots()
  slotOf, taken, staleOf = {}, {}, {}
  local all = redis.call('HGETALL', slots)
  for from = 1, #all, 2000 do
    local names = {}
    for i = from, math.min(from + 1998, #all - 1), 2 do
      names[#names + 1] = all[i + 1]
      names[#names + 1] = 'revoked,' .. all[i + 1]
    end
    local scores = redis.call('ZMSCORE', holders, unpack(names))
    for i = 1, #names, 2 do
      local slot, member, score = all[from + i - 1] + 0, names[i], scores[i] or scores[i + 1]
      if score and score * 1000 > now then
        slotOf[member], taken[slot] = slot, true
      else
        staleOf[member] = slot
      end
    end
  end
end

-- Gives each of an id's members, which get a permit now or have it, the smallest slot that is free, or the one that it
-- has. There is one below the capacity in force for whom there is room. Returns them.
local function takeSlots(members)
  if not slotOf then
    lookAtSlots()
  end
  local given, args, free = {}, {}, 0
  for i, member in ipairs(members) do
    local slot = slotOf[member]
    if not slot then
      while taken[free] do
        free = free + 1
      end
      slot = free
      local stale = staleOf[member]
      if stale and stale ~= slot and not taken[stale] then -- else the member would have two
        args[#args + 1] = whole(stale)
        args[#args + 1] = ''
      end
      slotOf[member], taken[slot] = slot, true
      args[#args + 1] = whole(slot)
      args[#args + 1] = member
    end
    given[i] = slot
  end
  if #args > 0 then
    redis.call('HSET', slots, unpack(args))
  end
  redis.call('PEXPIRE', slots, keep)
  return given
end
-- Grants one id after the other.

local declared -- what the fence says after the token
local other -- what the fence said before this call granted or refused anything, if its caller declared other limits
local aged  -- whether the lifetimes of fence and holders are due: every thousand seconds

-- Returns a new token, the first of this call. Tokens follow the server's clock and never stand still: a
-- fence from before a step back wins. It has as many digits as the clock, so that they compare as text.
local function firstToken()
  local text = seconds .. micros
  declared = ' ' .. ARGV[2] .. ' ' .. ARGV[1]
  local before = redis.call('SET', fence, text .. declared, 'KEEPTTL', 'GET')
  local first = now
  if before and before >= text then
    first = math.max(now, (string.match(before, '^%d+') or 0) + 1)
  end
  aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7)
  other = other or before and string.match(before, '^%d+( %d+ %d+)') ~= declared and before
  local says = ARGV[1] + 0 -- the caller's TTL, or that of whom it grants for
  local longest = math.max(ttl, knownTTL(before))
  if longest > says then
    declared = declared .. ' ' .. whole(longest)
  end
  if aged then
    redis.call('SET', fence, whole(first) .. declared, 'PX', keep)
  elseif first ~= now or longest > says then
    redis.call('SET', fence, whole(first) .. declared, 'KEEPTTL')
  end
  return first
end

local token   -- of the latest grant of this call
local oldest  -- and of the first, which the fence has
local created -- whether holders was made by this call
local slotsOf = {} -- by id, with Config.Slots
local given, soonest = 0, 0 -- how many permits this call has granted, and the earliest of their expiries

-- Takes the permits of an id, or extends those that it has; nothing is ever shortened. Returns its token.
local function grant(id, weight, expiry)
  oldest = oldest or firstToken()
  token = token and token + 1 or oldest
  created = created or held == 0
  soonest = given == 0 and expiry or math.min(soonest, expiry)
  given = given + weight
  local score = whole(expiry)
  if slots then
    local members = {}
    addMembers(members, id, weight)
    slotsOf[id] = takeSlots(members)
  end
  if weight == 1 then
    held = held + redis.call('ZADD', holders, 'GT', score, id)
    return token
  end
  local members, args = {}, {}
  addMembers(members, id, weight)
  for _, member in ipairs(members) do
    args[#args + 1] = score
    args[#args + 1] = member
  end
  held = held + redis.call('ZADD', holders, 'GT', unpack(args))
  return token
end

-- Ends what grant began: the fence follows the latest token, and lifetimes are seen to.
local function seal()
  if not token then
    return
  end
  if token > oldest then
    redis.call('SET', fence, whole(token) .. declared, 'KEEPTTL')
  end
  if created or aged then
    redis.call('PEXPIRE', holders, keep)
  end
end
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
-- Gives free permits to those who have waited longest, and notifies them. What becomes of the head of the queue:
--
--   its owner is dead:                           it leaves the queue
--   heavier than an operator's capacity:         it leaves the queue and is notified
--   heavier than the capacity that its own       it leaves the queue and is notified; by a call of another
--     process declares:                          process, which may declare less, it stays, and all behind it wait
--   there is room:                               granted until its owner's alive-until: by its own TTL, not the caller's
--   there is no room yet:                        it stays, and all behind it wait: so a heavy request does not starve
--
-- At most 500 steps and about 1,000 permits in one call; status says when there is more to do.

local limit = capacity -- in force
local overridden = false -- by an operator, and so for all

local function override()
  local n = tonumber(redis.call('HGET', config, 'capacity') or '')
  if n and n >= 0 then
    limit, overridden = n, true
  end
end

-- Takes out what the dead have left behind: owners by their time, and what a look at a few of the waiters
-- finds, wherever they stand. The head of the queue is promote's.
local function sweep()
  local dead = redis.call('ZRANGEBYSCORE', alive, '-inf', whole(math.floor(now / 1000)), 'LIMIT', 0, 100)
  if #dead > 0 then
    redis.call('ZREM', alive, unpack(dead))
  end
  if waiting < 100 then
    return
  end
  local gone, lives = {}, {}
  for _, id in ipairs(redis.call('ZRANDMEMBER', queue, 50)) do
    local owner = string.match(id, '@([^#]+)') or ''
    if lives[owner] == nil then
      lives[owner] = (tonumber(redis.call('ZSCORE', alive, owner) or 0)) * 1000 > now
    end
    if not lives[owner] then
      gone[#gone + 1] = id
    end
  end
  if #gone > 0 then
    waiting = waiting - redis.call('ZREM', queue, unpack(gone))
  end
end

-- own: the ids of this call, with their answers: they need no notification. me: their owner, unless others of it go by a
-- larger capacity.
local function promote(own, me)
  local status, steps, permits = 0, 0, 0
  local until_ = {} -- by owner
  if held >= limit and purge() == 0 then
    drawIn()
  end
  while held < limit and waiting > 0 do
    local n = math.min(limit - held, 100)
    local heads = redis.call('ZRANGE', queue, 0, n - 1)
    local leaving, blocked = {}, false -- leaving: granted, refused, or of a dead owner
    for _, id in ipairs(heads) do
      if permits >= 1000 then
        break
      end
      local owner, weight = string.match(id, '@([^#]+)') or '', weightOf(id)
      if not until_[owner] then
        until_[owner] = tonumber(redis.call('ZSCORE', alive, owner) or 0)
        if until_[owner] > later + ttl then
          until_[owner] = math.min(until_[owner], drawInAlive())
        end
      end
      if until_[owner] * 1000 <= now then
        leaving[#leaving + 1] = id
      elseif (overridden or owner == me) and weight > limit or weight > maxWeight then
        leaving[#leaving + 1] = id
        if own and own[id] then
          own[id] = {-1, 0}
        else
          say(id, 'refuse ' .. whole(limit) .. ' 0')
        end
      elseif held + weight <= limit then
        leaving[#leaving + 1] = id
        local fresh = grant(id, weight, until_[owner])
        permits = permits + weight
        if own and own[id] then
          own[id] = {until_[owner], fresh}
        else
          local numbers = slotsOf[id] and '=' .. table.concat(slotsOf[id], ',') or ''
          say(id, 'grant' .. numbers .. ' ' .. whole(until_[owner]) .. ' ' .. whole(fresh))
        end
      else
        blocked = true
        break
      end
    end
    if #leaving > 0 then
      waiting = waiting - redis.call('ZREM', queue, unpack(leaving))
    end
    steps = steps + #leaving
    if blocked then
      if purge() == 0 then
        drawIn()
        break
      end
    elseif #heads == 0 then
      waiting = 0
    elseif steps >= 500 or permits >= 1000 then
      status = MORE
      break
    end
  end
  return status
end

-- Sets or removes the override.
local function change(to)
  local known = redis.call('HMGET', config, 'capacity', 'before')
  local current, before = known[1], nil -- before: what a pause interrupts
  if to == 'resume' then
    if current ~= '0' then
      return -- nothing to resume
    end
    to = known[2] or ''
  elseif to == 'pause' then
    to, before = '0', current
    if current == '0' then
      before = known[2]
    end
  end
  if to == '' then
    redis.call('HDEL', config, 'capacity', 'before', 'by', 'at', 'reason')
    redis.call('PEXPIRE', config, keep) -- what revoke has left there
    return
  end
  redis.call('HSET', config, 'capacity', to, 'by', ARGV[4], 'at', seconds .. micros, 'reason', ARGV[5])
  if before then
    redis.call('HSET', config, 'before', before)
  else
    redis.call('HDEL', config, 'before')
  end
  redis.call('PERSIST', config)
end

if ARGV[3] ~= 'more' then
  change(ARGV[3])
end

if redis.call('EXISTS', slots) == 0 then
  slots = nil
end
held, waiting = redis.call('ZCARD', holders), redis.call('ZCARD', queue)
override()
local status = promote()
seal()
return {now, status + publish()}
