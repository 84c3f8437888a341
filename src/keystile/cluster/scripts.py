"""What the server does: Lua scripts, each atomic, by the server's own clock.

Law: text and names, no I/O. ``tests/cluster/model.py`` says the same in Python; a test holds the two together.

Keys (all with one hash tag):

    {keystile}:epoch            hash: ``incarnation`` of the server (its run id and replication id), ``token`` of this
                                epoch, ``opened`` (ms), ``longest`` lease time of any holder (ms), ``protocol``
    {keystile}:TOKEN:alive      sorted set: holders by the moment (ms) at which they are dead
    {keystile}:TOKEN:a:NAME     hash: units of one address by holder

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
    """One script. ``digest`` is what EVALSHA calls it by."""

    name: str
    text: bytes

    @property
    def digest(self) -> bytes:
        """SHA-1, as the server computes it."""
        return sha1(self.text, usedforsecurity=False).hexdigest().encode("ascii")


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
    return Script(name, (flags + "".join(parts)).encode("ascii"))


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

# KEYS epoch, alive, address; ARGV token, holder, cap, units needed.
# -> units lent (-1: this holder is dead; -2: nothing is lent yet), ms of that, holders that were told.
# Of what is free a quarter goes along, so that the next requests need not ask.
ASK: Final = _script(
    "ask",
    _DENIED,
    _SAME_EPOCH,
    _NOW,
    """
local until_ = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not until_ or tonumber(until_) <= now then return {-1, 0, 0} end
local epoch = redis.call('HMGET', KEYS[1], 'opened', 'longest')
local wait = tonumber(epoch[1]) + tonumber(epoch[2]) - now
if wait > 0 then return {-2, wait, 0} end
local units, lent, others = redis.call('HGETALL', KEYS[3]), 0, {}
for at = 1, #units, 2 do
  local holder, count = units[at], tonumber(units[at + 1])
  if holder == ARGV[2] then
    lent = lent + count
  else
    local dead = redis.call('ZSCORE', KEYS[2], holder)
    if dead and tonumber(dead) > now then
      lent = lent + count
      others[#others + 1] = holder
    else
      redis.call('HDEL', KEYS[3], holder)
    end
  end
end
local free, need = math.max(tonumber(ARGV[3]) - lent, 0), tonumber(ARGV[4])
local given = math.min(free, need + math.floor(math.max(free - need, 0) / 4))
if given > 0 then
  redis.call('HINCRBY', KEYS[3], ARGV[2], given)
  redis.call('PEXPIRE', KEYS[3], 60000)
end
if given >= need then return {given, 0, 0} end
local name = string.sub(KEYS[3], -8)
for _, holder in ipairs(others) do
  redis.call('PUBLISH', '{keystile}:holder:' .. holder, 'w' .. ARGV[2] .. name)
end
return {given, 0, #others}
""",
)

# KEYS epoch, alive, addresses...; ARGV token, holder, then for each: units, holders to tell (8 bytes each) -> 1
GIVE: Final = _script(
    "give",
    _ALLOWED,
    _SAME_EPOCH,
    """
for at = 3, #KEYS do
  local units, told = ARGV[2 * at - 3], ARGV[2 * at - 2]
  if redis.call('HINCRBY', KEYS[at], ARGV[2], 0 - tonumber(units)) <= 0 then redis.call('HDEL', KEYS[at], ARGV[2]) end
  for first = 1, #told, 8 do
    local channel = '{keystile}:holder:' .. string.sub(told, first, first + 7)
    redis.call('PUBLISH', channel, 'f' .. string.sub(KEYS[at], -8))
  end
end
return 1
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

ALL: Final = (FIT, OPEN, MOVE, LEAVE, BEAT, ASK, GIVE, KEEP)
