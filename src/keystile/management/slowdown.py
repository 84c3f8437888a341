"""How failed attempts to sign in slow down the next: by account, by client address, by both together.

Law: a pure rule over numbers; rows are kept by ``storage/attempts.py``. Every attempt is counted before its
password is looked at, so that many at once are not free, and a right one is given back.

A count leaks away with time and is never a lock-out: a delay is 15 minutes at most, attempts that come within
it are neither looked at nor counted, and all is forgotten by itself. What is slowed down is named by a digest of
what was typed, whether or not there is such an account, so that the delay tells nobody who has one.

An attacker elsewhere must not shut the owner out. So where an account has signed in from a network before, its
attempts from there are counted by themselves (``PAIR``) and the account's own count (``ACCOUNT``) is not asked.
An owner at a new address, while somebody keeps guessing, has the operator's one-time link: using it makes
the address known. The client's address (``ADDRESS``) counts for everybody, since one who guesses the passwords
of many accounts shows only there; an office behind one address is why it is the more patient.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from keystile.storage.attempts import Attempts, Rows

LONGEST = 900.0
"""Seconds that an attempt may be held off at most."""
NOWHERE = "?"
"""The network of a client without an address."""
_DOUBLINGS = math.ceil(math.log2(LONGEST)) + 1


@dataclass(frozen=True, slots=True)
class Limit:
    """``free`` failures cost nothing; each is forgotten after ``leak`` seconds."""

    kind: str
    free: int
    leak: float


# Someone who keeps guessing gets about 100 guesses a day at an account, whatever number of addresses is used,
# and about 300 from one address.
ACCOUNT = Limit("account", 5, 900.0)
PAIR = Limit("pair", 5, 900.0)
ADDRESS = Limit("address", 20, 300.0)


@dataclass(frozen=True, slots=True)
class Counted:
    """An attempt that has been counted: under which names, and the rows before and after."""

    names: tuple[bytes, ...]
    limits: tuple[Limit, ...]
    before: Rows
    after: Rows


def name(limit: Limit, *what: str) -> bytes:
    """Return the name of what is slowed down: 32 bytes, however long an e-mail address was typed."""
    text = "\0".join((limit.kind, *what))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def network_of(address: str) -> str:
    """Return the network that counts as one client: an IPv4 address, an IPv6 /64; NOWHERE for what is no address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return NOWHERE
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return f"{IPv6Address(int(ip) >> 64 << 64)}/64"
    return str(ip)


def wait(rows: Sequence[Attempts], now: float) -> float:
    """Return for how many seconds attempts are held off, 0 for not at all."""
    # Further ahead than the rule ever says, it was written before the clock was set back: it holds nobody off.
    waits = [row.until - now for row in rows if row.until - now <= LONGEST]
    return max(0.0, *waits) if waits else 0.0


def count(row: Attempts, limit: Limit, now: float) -> Attempts:
    """Count one attempt."""
    level = min(max(0.0, (row.empty - now) / limit.leak) + 1, limit.free + _DOUBLINGS)
    return Attempts(now + level * limit.leak, now + _delay(level, limit))


def give_back(row: Attempts, mine: Counted, place: int) -> Attempts:
    """Take back one attempt, and its delay, unless another attempt has set a later one since."""
    limit = mine.limits[place]
    until = mine.before[place].until if row.until == mine.after[place].until else row.until
    return Attempts(row.empty - limit.leak, until)


def _delay(level: float, limit: Limit) -> float:
    over = level - limit.free
    return min(LONGEST, 2.0**over) if over >= 0 else 0.0
