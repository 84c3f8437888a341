"""Where slots are counted over many hosts: the address of a Valkey or Redis server.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right. A password never stands
in an address: gateway.yaml is read by many, and addresses are shown.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from keystile.config.units import duration, text

_SHAPE = re.compile(
    r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[0-9]{1,5})?)?"
)
_HINT = "write valkey://host:port, or host"
SHORTEST_LEASE, LONGEST_LEASE = 0.25, 60.0


class Lender(NamedTuple):
    """A server: ``host`` without brackets; ``user`` None for the server's default one."""

    host: str
    port: int
    database: int
    user: str | None


def lender(value: object) -> Lender:
    """``valkey://[user@]host[:port][/database]``; ``redis://`` is the same."""
    written = text(value)
    scheme, mark, rest = written.partition("://")
    if scheme in ("valkeys", "rediss"):
        raise ValueError("is not yet served by this version (TLS to the server); write valkey://host:port")
    if not mark or scheme not in ("valkey", "redis"):
        raise ValueError(f"is not known here; {_HINT}")
    if "@" in rest and ":" in rest.rpartition("@")[0]:
        raise ValueError("holds a password; name a file in slots.password_file, or a variable in slots.password_env")
    found = _SHAPE.fullmatch(rest)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        raise ValueError(f"is no address of a server; {_HINT}")
    host = found["host"].removeprefix("[").removesuffix("]")
    return Lender(host, int(found["port"] or 6379), int(found["database"] or 0), found["user"])


def slots(value: object) -> Lender | None:
    """``host`` for this machine's memory, or the address of a server; a mapping is read as ``SlotsSection``."""
    return None if value == "host" else lender(value)


def lease_time(value: object) -> float:
    """Seconds, from a quarter of one to a minute."""
    seconds = duration(value)
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError("is not between 250ms and 60s")
    return seconds


def variable(value: object) -> str:
    """The name of an environment variable."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", written):
        raise ValueError("is not the name of an environment variable; write such as VALKEY_PASSWORD")
    return written
