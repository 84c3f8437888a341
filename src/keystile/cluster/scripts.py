"""What the server does: Lua scripts, each atomic, by the server's own clock.

Law: text and names, no I/O. ``tests/cluster/model.py`` says the same in Python; a test holds the two together.

Keys (all with one hash tag):

    {keystile}:epoch            hash: ``incarnation`` of the server (its run id and replication id), ``token`` of this
                                epoch, ``opened`` (ms), ``longest`` lease time of any holder (ms), ``protocol``,
                                ``sealed`` (the token, once replicas have confirmed that the server is the primary)
    {keystile}:TOKEN:alive      sorted set: holders by the moment (ms) at which they are dead
    {keystile}:TOKEN:a:NAME     hash: units of one address by holder, and who lacks some

A holder is a connection: 8 random bytes, never used again. Once it is dead it stays dead, so the units under its name
are void everywhere at once and nothing has to be cleaned up; what is left of a hash expires.

An *epoch* ends when the server is another one (a fail-over, a restart: what it knows may lack the last grants) or has
lost its data. In the first ``longest`` ms of an epoch nothing is lent: until then every holder has either said anew
what it holds, or has stopped counting on it by its own clock.

A program of another *protocol* (scripts that do not mean the same by the same keys) must not count beside this one:
units lent by both would add up to two caps. So whoever opens says its protocol, and is refused while a holder of
another one lives; once none does, an epoch begins. Names and meaning of ``{keystile}:epoch``, its ``token`` and
``protocol``, and of ``alive``, are the same in every protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Final

EPOCH_KEY: Final = b"{keystile}:epoch"
CHANNEL: Final = b"{keystile}:holder:"
PROTOCOL: Final = 1
"""Grows when scripts can no longer count beside those of the version before."""
ADDRESS_TTL: Final = 60_000
"""Milliseconds after which the hash of an address is gone, if nobody asks for it or keeps it."""


class ServerError(Exception):
    """The server has answered with an error. ``GONE`` at its start: the epoch is not the one it was called for."""


@dataclass(frozen=True, slots=True)
class Script:
    """One script. ``digest`` is what EVALSHA calls it by: SHA-1 of the text, as the server computes it."""

    name: str
    text: bytes
    digest: bytes


def alive_key(token: bytes) -> bytes:
    """The key of the sorted set of holders."""
    return b"{keystile}:%b:alive" % token


def address_key(token: bytes, name: bytes) -> bytes:
    """The key of the hash of one address."""
    return b"{keystile}:%b:a:%b" % (token, name)


# Most are allowed where memory is full: they give back, or keep what is there.
_ALLOWED: Final = "#!lua flags=allow-oom\n"
_DENIED: Final = "#!lua\n"
_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_SAME_EPOCH: Final = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return redis.error_reply('GONE another epoch') end
"""


_SAME_PROTOCOL: Final = f"""
local said = redis.call('HMGET', KEYS[1], 'token', 'protocol')
local differs = said[1] and (said[2] or '1') ~= '{PROTOCOL}'
if differs and redis.call('ZCOUNT', '{{keystile}}:' .. said[1] .. ':alive', '(' .. now, '+inf') > 0 then
  return redis.error_reply('PROTOCOL ' .. (said[2] or '1') .. ' is that of hosts which count here; ours is {PROTOCOL}')
end
"""


def _script(name: str, flags: str, *parts: str) -> Script:
    text = (flags + "".join(parts)).encode("ascii")
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode("ascii"))


# KEYS epoch -> 1, or an error: hosts of another protocol count here.
FIT: Final = _script("fit", _ALLOWED, _NOW, _SAME_PROTOCOL, "return 1")

# KEYS epoch; ARGV incarnation, token if there has to be a new one, holder, lease ms, the holder before.
# -> token, ms for which nothing is lent, whether the holder before is alive.
OPEN: Final = _script(
    "open",
    _ALLOWED,
    _NOW,
    _SAME_PROTOCOL,
    """
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'token', 'opened', 'longest')
local lease, token = tonumber(ARGV[4]), known[2]
local opened, longest = tonumber(known[3]), math.max(tonumber(known[4]) or 0, lease)
if known[1] ~= ARGV[1] or not token or not opened or differs then
  token, opened = ARGV[2], now
  redis.call('HSET', KEYS[1], 'incarnation', ARGV[1], 'token', token, 'opened', opened)
end
redis.call('HSET', KEYS[1], 'longest', longest, 'protocol', @@)
local alive = '{keystile}:' .. token .. ':alive'
local before = redis.call('ZSCORE', alive, ARGV[5])
redis.call('ZADD', alive, now + lease, ARGV[3])
redis.call('PEXPIRE', alive, 60 * longest)
return {token, math.max(opened + longest - now, 0), (before and tonumber(before) > now) and 1 or 0}
""".replace("@@", str(PROTOCOL)),
)

# KEYS epoch; ARGV token -> ms for which nothing is lent, counted from when this was first said in the epoch.
SEAL: Final = _script(
    "seal",
    _ALLOWED,
    _SAME_EPOCH,
    _NOW,
    """
if redis.call('HGET', KEYS[1], 'sealed') ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'sealed', ARGV[1], 'opened', now)
end
local epoch = redis.call('HMGET', KEYS[1], 'opened', 'longest')
return math.max(tonumber(epoch[1]) + tonumber(epoch[2]) - now, 0)
""",
)

# KEYS epoch, alive, addresses...; ARGV token, holder, the one before, units... -> 1
MOVE: Final = _script(
    "move",
    _ALLOWED,
    _SAME_EPOCH,
    """
for at = 3, #KEYS do
  redis.call('HDEL', KEYS[at], ARGV[3])
  redis.call('HINCRBY', KEYS[at], ARGV[2], ARGV[at + 1])
  redis.call('PEXPIRE', KEYS[at], 60000)
end
return 1
""",
)

# KEYS epoch, alive; ARGV token, holder that is no more -> 1
LEAVE: Final = _script(
    "leave",
    _ALLOWED,
    _SAME_EPOCH,
    """
redis.call('ZREM', KEYS[2], ARGV[2])
return 1
""",
)

# KEYS epoch, alive; ARGV token, holder, lease ms -> 1, or 0: this holder is dead.
BEAT: Final = _script(
    "beat",
    _ALLOWED,
    _SAME_EPOCH,
    _NOW,
    """
local until_ = redis.call('ZSCORE', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if not until_ or tonumber(until_) <= now then return 0 end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[2], 60 * tonumber(ARGV[3]))
return 1
""",
)

# Who has units of an address, and who lacks some (``w`` and a holder: units lacking, until when it counts, the cap that
# the holder goes by), first come first. Who is dead, or has not asked for a while, is forgotten.
_LOOK: Final = """
local function look(key)
  local lent, holders, lacking = 0, {}, {}
  local found = redis.call('HGETALL', key)
  for at = 1, #found, 2 do
    local field, value = found[at], found[at + 1]
    local holder = #field == 9 and string.sub(field, 2) or field
    local dead = redis.call('ZSCORE', KEYS[2], holder)
    if not dead or tonumber(dead) <= now then
      redis.call('HDEL', key, field)
    elseif holder == field then
      lent = lent + tonumber(value)
      holders[#holders + 1] = holder
    else
      local units, until_, cap = string.match(value, '(%d+):(%d+):(%d+)')
      if tonumber(until_) > now then
        lacking[#lacking + 1] = {holder, tonumber(units), until_, tonumber(cap)}
      else
        redis.call('HDEL', key, field)
      end
    end
  end
  return lent, holders, lacking
end
local function names(lacking, but)
  local found = {}
  for _, one in ipairs(lacking) do
    if one[2] > 0 and one[1] ~= but then found[#found + 1] = one[1] end
  end
  return table.concat(found)
end
"""

# KEYS epoch, alive, address; ARGV token, holder, cap, units needed.
# -> units lent (-1: this holder is dead; -2: nothing is lent yet), ms of that, holders that were told, who else lacks.
# Of what is free a quarter goes along, so that the next requests need not ask.
ASK: Final = _script(
    "ask",
    _DENIED,
    _SAME_EPOCH,
    _NOW,
    _LOOK,
    """
local until_ = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not until_ or tonumber(until_) <= now then return {-1, 0, 0, ''} end
local epoch = redis.call('HMGET', KEYS[1], 'opened', 'longest')
local wait = tonumber(epoch[1]) + tonumber(epoch[2]) - now
if wait > 0 then return {-2, wait, 0, ''} end
local lent, holders, lacking = look(KEYS[3])
local free, need = math.max(tonumber(ARGV[3]) - lent, 0), tonumber(ARGV[4])
local others, given = names(lacking, ARGV[2]), math.min(free, need)
if others == '' then given = given + math.floor((free - given) / 4) end
if given > 0 then redis.call('HINCRBY', KEYS[3], ARGV[2], given) end
local told = 0
if given < need then
  local name = string.sub(KEYS[3], -8)
  for _, holder in ipairs(holders) do
    if holder ~= ARGV[2] then
      told = told + 1
      redis.call('PUBLISH', '{keystile}:holder:' .. holder, 'w' .. ARGV[2] .. name)
    end
  end
end
if told > 0 then
  redis.call('HSET', KEYS[3], 'w' .. ARGV[2], (need - given) .. ':' .. (now + 500) .. ':' .. ARGV[3])
else
  redis.call('HDEL', KEYS[3], 'w' .. ARGV[2])
end
redis.call('PEXPIRE', KEYS[3], 60000)
return {given, 0, told, others}
""",
)

# KEYS epoch, alive, addresses...; ARGV token, holder, then for each: units, holders to tell (8 bytes each)
# -> who lacks units of the last address still.
# What comes back goes on at once to those who lack it. Who was to be told and is not known to lack any asks anew: it
# is one that asks by an earlier version of these scripts.
GIVE: Final = _script(
    "give",
    _ALLOWED,
    _SAME_EPOCH,
    _NOW,
    _LOOK,
    """
local still = ''
for at = 3, #KEYS do
  local key, units, told = KEYS[at], ARGV[2 * at - 3], ARGV[2 * at - 2]
  if redis.call('HINCRBY', key, ARGV[2], 0 - tonumber(units)) <= 0 then redis.call('HDEL', key, ARGV[2]) end
  if tonumber(units) > 0 then redis.call('HDEL', key, 'w' .. ARGV[2]) end
  local lent, holders, lacking = look(key)
  local known, passed, name = {}, {}, string.sub(key, -8)
  for _, one in ipairs(lacking) do
    known[one[1]] = true
    local given = math.min(one[2], one[4] - lent, 255)
    if given > 0 then
      lent, one[2] = lent + given, one[2] - given
      redis.call('HINCRBY', key, one[1], given)
      passed[#passed + 1] = {one[1], given}
      if one[2] > 0 then
        redis.call('HSET', key, 'w' .. one[1], one[2] .. ':' .. one[3] .. ':' .. one[4])
      else
        redis.call('HDEL', key, 'w' .. one[1])
      end
    end
  end
  still = names(lacking)
  for _, one in ipairs(passed) do
    local said = 'g' .. one[1] .. string.char(one[2]) .. names(lacking, one[1]) .. name
    redis.call('PUBLISH', '{keystile}:holder:' .. one[1], said)
  end
  for first = 1, #told, 8 do
    local holder = string.sub(told, first, first + 7)
    if not known[holder] then redis.call('PUBLISH', '{keystile}:holder:' .. holder, 'f' .. name) end
  end
end
return still
""",
)

# KEYS epoch, alive, addresses...; ARGV token, holder, then for each the units held -> how many are not there.
KEEP: Final = _script(
    "keep",
    _ALLOWED,
    _SAME_EPOCH,
    """
local lost = 0
for at = 3, #KEYS do
  local held = tonumber(redis.call('HGET', KEYS[at], ARGV[2]) or 0)
  if held < tonumber(ARGV[at]) then lost = lost + 1 end
  redis.call('PEXPIRE', KEYS[at], 60000)
end
return lost
""",
)

ALL: Final = (FIT, OPEN, SEAL, MOVE, LEAVE, BEAT, ASK, GIVE, KEEP)
