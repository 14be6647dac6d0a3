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

-- @include "shared": holders, fence, queue, alive, config, callers, slots, ttl, capacity, keep, maxTTL, held, waiting, whole, LATE, MUTED, MORE, DETAILS
-- @include "clock": seconds, micros, now, later

local flags, notAfter = ARGV[4] + 0, ARGV[3] + 0
local late = notAfter > 0 and now > notAfter
local stood = math.floor(flags / 16) % 1024 -- how many have a place

-- Returns where there is room for all and nobody waits.
-- @include "uncontended": others

-- @include "ids": weightOf, addMembers, maxWeight
-- @include "purge": purge
-- @include "longest": allOfNode, knownTTL, declareTTL, drawIn, drawInAlive
-- @include "slots": takeSlots
-- @include "grant": grant, seal, slotsOf, other, given, soonest
-- @include "publish": say, publish
-- @include "promote": promote, override, sweep, limit

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
