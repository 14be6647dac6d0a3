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
