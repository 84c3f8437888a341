"""Who is calling: the client's address, after trusted proxies.

Law: addresses and TLS facts only; it knows no keys and no limits. An
IPv4-mapped IPv6 address is the IPv4 address, everywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peer:
    """One calling address.

    ``ip``: the parsed address; ``text``: the same for fields and logs; ``tls``: the negotiated version
    (``TLSv1.3``) or None; ``trusted``: whether what it says about others is believed; ``slot``: a place for
    the limiter's name of this address; ``lines``: the field lines that name it to an upstream. All of it is
    constant per connection, so it is worked out once.
    """

    __slots__ = ("ip", "lines", "slot", "text", "tls", "trusted")

    def __init__(self, ip: Address, *, tls: str | None = None, trusted: bool = False, slot: bytes = b"") -> None:
        self.ip = ip
        self.text = str(ip)
        self.tls = tls
        self.trusted = trusted
        self.slot = slot
        proto = "https" if tls else "http"
        self.lines = f"X-Forwarded-For: {self.text}\r\nX-Forwarded-Proto: {proto}\r\n".encode("ascii")


def parse_address(text: str) -> Address:
    """An address with any zone cut off and IPv4-mapped IPv6 unmapped. Raises ``ValueError``."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return getattr(ip, "ipv4_mapped", None) or ip


def is_trusted(ip: Address, trusted: Sequence[Network]) -> bool:
    """Whether ``ip`` lies in one of the networks of trusted proxies."""
    return any(ip in network for network in trusted)


def client_behind(socket_ip: Address, forwarded_for: Sequence[bytes], trusted: Sequence[Network]) -> Address:
    """The right-most address of X-Forwarded-For that is not a trusted proxy.

    ``forwarded_for``: the values of all its lines, in order. The left end of the list is the client's own
    text, so reading goes from the right and stops at the first address that nobody vouches for, and at the
    first entry that is no address (the last trusted hop is then the caller).
    """
    caller = socket_ip
    for entry in reversed(b",".join(forwarded_for).split(b",")):
        if not is_trusted(caller, trusted):
            return caller
        try:
            caller = parse_address(_without_port(entry.strip(b" \t").decode("ascii")))
        except ValueError:
            return caller
    return caller


def _without_port(text: str) -> str:
    """``[::1]:80`` and ``1.2.3.4:80`` without brackets and port; anything else as it is."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return address if bracket and (not port or port.startswith(":")) else text
    return text.partition(":")[0] if text.count(":") == 1 else text
