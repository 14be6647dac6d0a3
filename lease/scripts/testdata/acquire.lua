-- acquire: grants permits to those who find room with nobody ahead, and lets the others wait in the queue.
-- A waiter's poll is this same call.
--
-- KEYS  as shared
-- ARGV  1 ttl, 2 capacity
--       3 notAfter  µs of this server's clock; past it nothing is asked for; 0 = no limit
--       4 flags     1: see to the lifetime of the queue, 2: some weigh more than 1, or are held, or there are slots, 4:
--                   strict, that is refuse while another caller declares other limits, 8: others who wait in the
--                   process go by a larger capacity, 16n: the first n (up to 1023) have a place in the queue, 16384n: n
--                   callers wait in the process, which the key callers is to keep
--       5 behind    µs of this server's clock: the places of the others come after this
--       6… pairs    at most 500 permits' ids, in order of arrival; with each, for how many µs it has waited
--                   already; empty: it does not wait; =: it is held, and to be granted again, or nothing. Those
--                   that are held come last
-- Reply integers: now in µs, status (as shared), then two per id unless the call was late: its expiry in
--       ms and its token in µs; 0 and 0: it waits, or was refused; -1 and 0: it is heavier than the
--       capacity in force; -2 and 0: it was granted and then revoked, and has not been given back; -3 and 0: the
--       call is strict, and somebody holds or waits whose limits are others. Then, with Config.Slots, the slots of each id
--       that was granted, as many as it weighs. Then, where the status says so: capacity
--       in force, held, waiting, earliest expiry in ms (0: nobody was refused), other capacity, other TTL.
-- Writes holders and fence where something is granted or expired, queue and alive where somebody waits.
-- A place is now less the time waited, and after that of the id before: it survives an outage that loses the
-- queue. A poll can only better it: the call before may have been slow, and the clock may have been set back.
-- An id that is held already is granted again and never shortened: a lost reply and a client's own
-- retry are harmless. Cost when there is room: TIME, EXISTS, SET, ZADD; and ZCARD where somebody holds,
-- PEXPIRE where nobody does.

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

local flags, notAfter = ARGV[4] + 0, ARGV[3] + 0
local late = notAfter > 0 and now > notAfter
local stood = math.floor(flags / 16) % 1024 -- how many have a place

-- Returns where there is room for all and nobody waits.
-- The hot path of an acquire: there is room for all, nobody waits, nothing overrides the capacity, and the fence only
-- moves on. Then it returns. Otherwise it changes nothing. Here every call and every piece of text counts.

local asked = (#ARGV - 5) / 2
held = 0
local others = redis.call('EXISTS', holders, queue, config)
if others > 0 then
  held = redis.call('ZCARD', holders)
  others = held > 0 and others - 1 or others -- how many of queue and config
end
if others == 0 and flags % 4 < 2 and flags < 16 and not late and held + asked <= capacity then
  local text, declared = seconds .. micros, ' ' .. ARGV[2] .. ' ' .. ARGV[1]
  local latest = asked == 1 and text or string.format('%.0f', now + asked - 1)
  local before = redis.call('SET', fence, latest .. declared, 'KEEPTTL', 'GET')
  if not before and held == 0 or before and before < text and string.sub(before, #text + 1) == declared then
    local expiry = later + ttl
    local score = string.format('%.0f', expiry)
    local reply = {now, 0, expiry, now}
    if asked == 1 then
      redis.call('ZADD', holders, 'GT', score, ARGV[6])
    else
      local args = {}
      for i = 6, #ARGV, 2 do
        args[#args + 1] = score
        args[#args + 1] = ARGV[i]
        reply[i - 3], reply[i - 2] = expiry, now + (i - 6) / 2
      end
      redis.call('ZADD', holders, 'GT', unpack(args))
    end
    local aged = not before or string.sub(before, 1, 7) ~= string.sub(text, 1, 7) -- every thousand seconds
    if aged then
      redis.call('PEXPIRE', fence, keep)
    end
    if held == 0 or aged then
      redis.call('PEXPIRE', holders, keep)
    end
    return reply
  end
  if before then
    redis.call('SET', fence, before, 'KEEPTTL') -- it is ahead of the clock, or its caller declared other limits
  else
    redis.call('DEL', fence)
  end
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

-- Adds to a reply how full the semaphore is, and the capacity and the TTL in ms that the caller of the grant
-- before declared, if they are others (0: they are the same).
local function detail(reply, limit, waiting, first)
  local theirs, ms = string.match(other or '', '^%d+ (%d+) (%d+)')
  local n = #reply
  reply[2] = reply[2] + DETAILS
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = limit, held, waiting, first
  reply[n + 5], reply[n + 6] = (theirs or 0) + 0, (ms or 0) + 0
  return reply
end

local revoked = 0 -- 1: there may be permits under their revoked names
if others > 0 then -- the queue exists, or config, or both
  waiting = redis.call('ZCARD', queue)
  if others == 2 or waiting == 0 then -- config exists
    override()
    local last = tonumber(redis.call('HGET', config, 'revoked') or '')
    if last and last * 1000 > now then
      revoked = 1
    elseif last then
      redis.pcall('HDEL', config, 'revoked') -- a user who may not run it only loses time
    end
  end
end

local disagreed = false -- the call is strict, and the fence has the limits of another who may still hold or wait
if flags % 8 >= 4 and not overridden and not late then
  local before = redis.call('GET', fence)
  local theirs, ms = string.match(before or '', '^%d+ (%d+) (%d+)')
  if theirs and (theirs ~= ARGV[2] or ms ~= ARGV[1]) then
    purge()
    disagreed = waiting > stood or held > 0 and not allOfNode()
  end
  if disagreed then -- what it does for those who wait it does by the limits that are declared already
    other = before
    limit = math.min(limit, theirs + 0)
    ARGV[1], ARGV[2] = ms, theirs
  end
end

local status = 0
local first = 0 -- earliest expiry
local expiry = later + ttl
local reply = {now, 0}
local from = 6 -- the first that finds no room, or somebody ahead

if late then
  status = LATE
  from = #ARGV + 1
elseif waiting == 0 and revoked == 0 and not disagreed then
  while from < #ARGV do
    local id = ARGV[from]
    local weight = weightOf(id)
    if ARGV[from + 1] == '=' then
      break
    end
    if held + weight > limit and (purge() == 0 or held + weight > limit) then
      drawIn()
      break
    end
    reply[from - 3], reply[from - 2] = expiry, grant(id, weight, expiry)
    from = from + 2
  end
end

if from < #ARGV then
  -- Who is held already, by a reply or a notification that was lost?
  local members = {}
  for i = from, #ARGV, 2 do
    local weight = weightOf(ARGV[i])
    addMembers(members, ARGV[i], weight)
    if revoked == 1 then
      members[#members + 1] = 'revoked,' .. members[#members - weight + 1]
    end
  end
  local scores = redis.call('ZMSCORE', holders, unpack(members))
  -- scores has, for each id, one for each of its permits, and where revoked is 1 one for its revoked name.
  local own, arrivals, refused, at = {}, {}, {}, 0 -- own: the answer to each id; at: where its scores begin
  local place = 0
  for i = from, #ARGV, 2 do
    local id, weight, live = ARGV[i], weightOf(ARGV[i]), 0
    for n = at + 1, at + weight do
      if scores[n] and scores[n] * 1000 > now then
        live = live + 1
      end
    end
    if live == weight then
      own[id] = {expiry, grant(id, weight, expiry)}
    elseif revoked == 1 and scores[at + weight + 1] and scores[at + weight + 1] * 1000 > now then
      own[id] = {-2, 0}
    else
      own[id] = {0, 0}
      for n = at + 1, at + weight do
        if scores[n] then
          held = held - redis.call('ZREM', holders, members[n]) -- an id with only some of its permits holds nothing
        end
      end
      if disagreed or weight > limit and limit > 0 then
        own[id][1] = disagreed and -3 or -1
        refused[#refused + 1] = id
      elseif ARGV[i + 1] ~= '' and ARGV[i + 1] ~= '=' then
        -- A place that is a millisecond ahead was given before the clock was set back: it does not count.
        if i - 6 >= 2 * stood and ARGV[5] - now < 1000 then
          place = math.max(place, ARGV[5] + 0)
        end
        place = math.max(now - ARGV[i + 1], place + 1)
        arrivals[#arrivals + 1] = whole(place)
        arrivals[#arrivals + 1] = id
      end
    end
    at = at + weight + revoked
  end
  if #refused > 0 then
    waiting = waiting - redis.call('ZREM', queue, unpack(refused))
  end
  if #arrivals > 0 then
    local id = arrivals[2]
    local isNew = waiting == 0
    -- Without GT: after a step back of the clock a process is not taken to be alive for longer than its TTL.
    local joined = redis.call('ZADD', alive, whole(expiry), string.match(id, '@([^#]+)')) == 1
    local added = redis.call('ZADD', queue, 'LT', unpack(arrivals))
    if added > 0 or flags % 2 == 1 then
      declareTTL()
    end
    waiting = waiting + added
    if flags % 2 == 1 then
      sweep()
    end
    if flags >= 16384 then
      redis.call('ZADD', callers, math.floor(flags / 16384), string.match(id, '@([^#]+)'))
      if redis.call('PTTL', callers) < 2 * ttl then
        redis.call('PEXPIRE', callers, whole(2 * ttl))
      end
      local owner = redis.call('ZRANDMEMBER', callers) -- one at a time: nobody waits for that
      if not redis.call('ZSCORE', alive, owner) then
        redis.call('ZREM', callers, owner)
      end
    end
    if isNew and waiting > 0 then
      redis.call('PEXPIRE', queue, whole(2 * ttl))
    end
    if joined or flags % 2 == 1 then
      for _, key in ipairs({queue, alive}) do
        if redis.call('PTTL', key) < 2 * ttl then -- never lowered: a neighbour's TTL may be longer
          redis.call('PEXPIRE', key, whole(2 * ttl))
        end
      end
    end
  end
  status = status + promote(own, flags % 16 < 8 and not disagreed and string.match(ARGV[6], '@([^#]+)'))
  for i = from, #ARGV, 2 do
    local id, weight = ARGV[i], weightOf(ARGV[i])
    if ARGV[i + 1] == '' and own[id][1] == 0 and waiting == 0 and held + weight <= limit then
      own[id] = {expiry, grant(id, weight, expiry)}
    end
    reply[i - 3], reply[i - 2] = own[id][1], own[id][2]
  end
  if ARGV[from + 1] ~= '=' then -- else nobody was refused
    first = soonest
    if given ~= held then -- some were there before
      first = (redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')[2] or 0) + 0
    end
  end
elseif late and waiting > 0 then
  status = status + promote()
end

seal()
if slots and not late then
  for i = 6, #ARGV, 2 do
    for _, slot in ipairs(reply[i - 3] > 0 and slotsOf[ARGV[i]] or {}) do
      reply[#reply + 1] = slot
    end
  end
end
reply[2] = status + publish()
return detail(reply, limit, waiting, first)
