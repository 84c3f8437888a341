"""Where slots are counted over many hosts: the address of a Valkey or Redis server, or of Sentinels who know it.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right. A password never stands
in an address: gateway.yaml is read by many, and addresses are shown.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from keystile.config.units import duration, text

_SCHEMES = re.compile(r"(?:valkey|redis)(?P<tls>s)?(?P<sentinel>\+sentinel)?")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_SHAPE = re.compile(
    r"(?:(?P<user>[^@/:\s]+)@)?(?P<servers>[^@/\s]+)(?:/(?P<name>[A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*))?"
    r"(?:/(?P<database>[0-9]{1,5})?)?"
)
_HINT = "write valkey://host:port, valkeys://host:port, valkey+sentinel://host:port,host:port/NAME, or host"
SHORTEST_LEASE, LONGEST_LEASE = 0.25, 10.0
PORT, SENTINEL_PORT = 6379, 26379


class Lender(NamedTuple):
    """Servers, of which one is the primary, or Sentinels who know the primary called ``sentinel``.

    ``servers``: hosts without brackets, and ports. ``user`` None for the server's default one.
    """

    servers: tuple[tuple[str, int], ...]
    database: int = 0
    user: str | None = None
    is_tls: bool = False
    sentinel: str | None = None


def lender(value: object) -> Lender:
    """``valkey[s]://[user@]host[:port],…[/database]``, ``valkey[s]+sentinel://[user@]host[:port],…/NAME[/database]``.

    ``redis://`` and ``rediss://`` are the same.
    """
    written = text(value)
    scheme, mark, rest = written.partition("://")
    kind = _SCHEMES.fullmatch(scheme)
    if not mark or kind is None:
        raise ValueError(f"is not known here; {_HINT}")
    if "@" in rest and ":" in rest.rpartition("@")[0]:
        raise ValueError("holds a password; name a file in slots.password_file, or a variable in slots.password_env")
    found, sentinel = _SHAPE.fullmatch(rest), kind["sentinel"] is not None
    if found is None:
        raise ValueError(f"is no address of a server; {_HINT}")
    if sentinel != (found["name"] is not None):
        wrong = "names no primary" if sentinel else "names a primary, which only Sentinels know"
        raise ValueError(f"{wrong}; write valkey+sentinel://host:26379/NAME")
    servers = tuple(_server(one, SENTINEL_PORT if sentinel else PORT) for one in found["servers"].split(","))
    if len(set(servers)) < len(servers):
        raise ValueError("names one server twice")
    return Lender(servers, int(found["database"] or 0), found["user"], kind["tls"] is not None, found["name"])


def _server(written: str, port: int) -> tuple[str, int]:
    found = _SERVER.fullmatch(written)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        raise ValueError(f"is no address of a server; {_HINT}")
    return found[1].removeprefix("[").removesuffix("]"), int(found[2] or port)


def is_loopback(host: str) -> bool:
    """Whether no network is on the way."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def slots(value: object) -> Lender | None:
    """``host`` for this machine's memory, or the address of a server; a mapping is read as ``SlotsSection``."""
    return None if value == "host" else lender(value)


def lease_time(value: object) -> float:
    """Seconds, from a quarter of one to ten: for as long nothing is lent at the first start, and after a fail-over."""
    seconds = duration(value)
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError("is not between 250ms and 10s")
    return seconds


def variable(value: object) -> str:
    """The name of an environment variable."""
    written = text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", written):
        raise ValueError("is not the name of an environment variable; write such as VALKEY_PASSWORD")
    return written
