"""Who is calling: the client's address, after trusted proxies.

Law: addresses and TLS facts only; it knows no keys and no limits. An
IPv4-mapped IPv6 address is the IPv4 address, everywhere.

The rule for proxies (X-Forwarded-For here, Forwarded in ``forwarded.py``): the left end of what they say is
the client's own text. So reading goes from the right, stops at the first address that nobody vouches for,
and stops at the first hop that is no address: what stands left of it was vouched for by nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from socket import AF_INET, inet_pton
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Hops that are looked at. Longer chains of trusted proxies do not exist; longer lists are a client's text.
MAX_HOPS: Final = 64

_PORT: Final = re.compile(r"[0-9]{1,5}")
_ZONE: Final = re.compile(r"[0-9A-Za-z._~-]{1,64}")


class Peer:
    """One calling address.

    ``text``: the address for fields and logs; ``ip``: the same, parsed, at least of who has a socket here;
    ``tls``: the negotiated version (``TLSv1.3``) or None; ``trusted``: whether what it says about others is believed;
    ``slot``: a place for the limiter's name of this address, and ``number`` for what stands for it in rules on
    addresses (-1: lies in none of them); ``lines``: the field lines that name it to an upstream, where no proxy speaks
    for it (``lines_of``); ``socket``: the address at the other end of the connection, where a proxy there speaks for
    it, as text; ``name`` and ``socket_name``: ``text`` and ``socket`` as bytes.
    """

    __slots__ = ("ip", "lines", "name", "number", "slot", "socket", "socket_name", "text", "tls", "trusted")

    def __init__(
        self,
        text: str,
        *,
        ip: Address | None = None,
        tls: str | None = None,
        trusted: bool = False,
        slot: bytes = b"",
        number: int = -1,
        socket: str = "",
        lines: bytes = b"",
    ) -> None:
        self.text = text
        self.ip = ip
        self.tls = tls
        self.trusted = trusted
        self.slot = slot
        self.number = number
        self.lines = lines
        self.socket = socket or text
        self.name = text.encode("ascii")
        self.socket_name = socket.encode("ascii") if socket else self.name


def lines_of(text: str, tls: str | None, subject: str | None) -> bytes:
    """The field lines that name a caller to an upstream; ``subject``: of the certificate it has shown (RFC 4514)."""
    lines = f"X-Forwarded-For: {text}\r\nX-Forwarded-Proto: {'https' if tls else 'http'}\r\n"
    if subject is not None:
        lines += f"X-Keystile-Client-Subject: {subject}\r\n"
    return lines.encode("ascii")


class Trusted:
    """The networks of proxies whose words about others are believed.

    Numbers: for a gateway behind proxies this is asked at every request, and ipaddress takes ten times as long.
    """

    __slots__ = ("_v4", "_v6")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._v4: list[tuple[int, int]] = []
        self._v6: list[tuple[int, int]] = []
        for each in networks:
            spans = self._v4 if each.version == 4 else self._v6
            spans.append((int(each.network_address), int(each.broadcast_address)))

    def holds(self, ip: Address) -> bool:
        """Whether ``ip`` lies in one of them."""
        return _lies_in(int(ip), self._v4 if type(ip) is ipaddress.IPv4Address else self._v6)

    def holds_ipv4(self, number: int) -> bool:
        """The same of an IPv4 address as a number."""
        return _lies_in(number, self._v4)


def _lies_in(number: int, spans: list[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in spans)


def unmapped(ip: Address) -> Address:
    """An IPv4-mapped IPv6 address as the IPv4 address that it is; any other as it is."""
    return getattr(ip, "ipv4_mapped", None) or ip


def parse_address(text: str) -> Address:
    """An address, IPv4-mapped IPv6 unmapped; the zone of an IPv6 address is cut off. Raises ``ValueError``."""
    if ":" not in text:
        return _ipv4(text)
    address, percent, zone = text.partition("%")
    if percent and _ZONE.fullmatch(zone) is None:
        raise ValueError("no address has such a zone")
    return unmapped(ipaddress.IPv6Address(address))


def _ipv4(text: str) -> ipaddress.IPv4Address:
    """The same as ``IPv4Address(text)`` in a fifth of its time. Raises ``ValueError``."""
    packed = packed_ipv4(text)
    if packed is None:
        raise ValueError("not an address")
    return ipaddress.IPv4Address(int.from_bytes(packed, "big"))


def packed_ipv4(text: str) -> bytes | None:
    """The four bytes of an IPv4 address in its only spelling, without zeros in front; None for all else."""
    try:
        return inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None


def parse_hop(text: str) -> Address:
    """An address as proxies write it: with or without a port, IPv6 with or without brackets. Raises ``ValueError``."""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        bracketed = ":" in address and "]" in text
        if not bracketed or (rest and (colon != ":" or _PORT.fullmatch(port) is None)):
            raise ValueError("brackets hold an IPv6 address, and only a port follows them")
        return parse_address(address)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        if _PORT.fullmatch(port) is None:
            raise ValueError("a port is a number")
        return _ipv4(address)
    return parse_address(text)


def client_behind(socket_ip: Address, forwarded_for: Sequence[bytes], trusted: Trusted) -> Address:
    """The right-most address of X-Forwarded-For that is not a trusted proxy.

    ``forwarded_for``: the values of all its lines, in order. At an entry that is no address, the last
    trusted hop is the caller.
    """
    caller = socket_ip
    if not trusted.holds(caller):
        return caller
    # Beyond the last hop looked at the rest stays one piece, which is no address.
    for entry in reversed(b",".join(forwarded_for).rsplit(b",", MAX_HOPS)):
        try:
            caller = parse_hop(entry.strip(b" \t").decode("ascii"))
        except ValueError:
            return caller
        if not trusted.holds(caller):
            return caller
    return caller
