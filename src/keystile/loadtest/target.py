"""Whom a run may load, and from which addresses.

Law: this file decides before anything is sent. A load test against somebody else's machine is an attack, so a target
that is neither this machine nor in a private network has to be named a second time by whoever may load it. What
was looked up is what is connected to: a name is asked once.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from keystile.loadtest.plan import Target

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Sequence[str]]
_FIRST_SOURCE: Final = int(ipaddress.IPv4Address("127.1.0.1"))
_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7"),
    )
)
_PORTS: Final = {"http": 80, "https": 443}


class BadTarget(ValueError):
    """A target that cannot be loaded, or may not be; the text says why."""


def look_up(host: str, port: int) -> Sequence[str]:
    """Every address of a name. Raises OSError."""
    return tuple(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def read(url: str, may_load: str | None = None, ca: str = "", asking: LookUp = look_up) -> Target:
    """The target of a URL such as ``http://127.0.0.1:8080``. Raises BadTarget.

    ``may_load``: the host that the caller says they may load.
    """
    scheme, host, port = _parts(url)
    try:
        addresses = [ipaddress.ip_address(found.partition("%")[0]) for found in asking(host, port)]
    except (OSError, UnicodeError):
        raise BadTarget(f"{host}: there is no such host") from None
    if not addresses:
        raise BadTarget(f"{host}: there is no such host")
    if not all(map(_is_ours, addresses)) and may_load != host:
        raise BadTarget(
            f"{host} is neither this machine nor in a private network; if you may load it, "
            f"say so with --i-may-load {host}"
        )
    return Target(str(addresses[0]), port, host, scheme == "https", ca)


def sources(target: Target, count: int) -> tuple[str, ...]:
    """So many addresses of this machine to call from: 127.1.0.1 and so on; none (one, the system's) elsewhere.

    All of 127.0.0.0/8 is this machine's on Linux; from other networks nobody can call with addresses of their choice.
    """
    address = _plain(ipaddress.ip_address(target.address))
    if not (isinstance(address, ipaddress.IPv4Address) and address.is_loopback) or ":" in target.address:
        return ()
    return tuple(str(ipaddress.IPv4Address(_FIRST_SOURCE + at)) for at in range(count))


def _parts(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadTarget(f"{url!r} is no URL; write for example http://127.0.0.1:8080") from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise BadTarget(f"{url!r}: write for example http://127.0.0.1:8080")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadTarget(f"{url!r}: the paths come from the route table; give scheme, host and port")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _is_ours(address: Address) -> bool:
    plain = _plain(address)
    return any(plain.version == network.version and plain in network for network in _PRIVATE)


def _plain(address: Address) -> Address:
    """``::ffff:192.0.2.1`` is 192.0.2.1."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
