"""The addresses a key may be used from: a list of addresses, networks and ranges, asked per request.

Law: this file knows IP addresses and their textual forms (RFC 4632 and RFC 4291
prefixes, plus FIRST-LAST) and nothing of keys or of how a client's address was found.

An IPv4-mapped IPv6 address (``::ffff:a.b.c.d``, RFC 4291 section 2.5.5.2) *is* the
IPv4 address, in what an operator writes and in who calls. So ``::/0`` means
every IPv6 address and no IPv4 one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
# ipaddress also takes netmasks and host masks behind the slash; here it is a prefix length.
_PREFIX: Final = re.compile(r"[0-9]{1,3}")
_MAPPED_BITS: Final = 96
_FIRST_V6: Final = 1 << 32
_FIRST_MAPPED: Final = _FIRST_V6 + int(IPv6Address("::ffff:0:0"))


@dataclass(frozen=True, slots=True)
class Networks:
    """What a key may be used from; empty (and then false) means everywhere.

    ``text`` has the canonical forms in the order given, with spaces between them. ``bounds`` is the same for
    machines: where the allowed numbers begin, end (exclusive), begin … in ascending order; IPv6 addresses are
    numbered behind all IPv4 ones. Compact, since a relay may hold 100,000 different ones.
    """

    text: str = ""
    bounds: tuple[int, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Networks:
        """Read single addresses, CIDRs and FIRST-LAST ranges.

        Raises ValueError, naming the text and what is wrong with it.
        """
        spans = [_Span.parse(text) for text in texts]
        canonical = " ".join(dict.fromkeys(span.text for span in spans))
        return cls(canonical, _merged((span.first, span.end) for span in spans))

    @classmethod
    def from_text(cls, text: str) -> Networks:
        """Read back what ``text`` of another says."""
        return cls(text, cls.parse(text.split()).bounds)

    @property
    def texts(self) -> tuple[str, ...]:
        """The canonical forms, in the order given, without repetitions."""
        return tuple(self.text.split())

    def allows(self, ip: Address) -> bool:
        """Say whether a call from ``ip`` may use the key."""
        return self.allows_number(number_of(ip))

    def allows_number(self, number: int) -> bool:
        """The same for what ``number_of`` the address has said: who calls again is not worked out again."""
        # An even number of bounds at or below the address: it lies outside every range.
        return not self.bounds or bisect_right(self.bounds, number) % 2 == 1

    def contains(self, other: Networks) -> bool:
        """Say whether every call that ``other`` allows is one that this allows.

        Everywhere lies within everywhere only: a list that happens to name every address there is does not
        count, since it was written as a restriction.
        """
        if not self.bounds or not other.bounds:
            return not self.bounds
        # No address has the numbers of mapped ones (they are IPv4), so a range across them needs none of them.
        bounds = _merged((*_pairs(self.bounds), (_FIRST_MAPPED, _FIRST_MAPPED + _FIRST_V6)))
        return all(_lies_in_one(bounds, first, end) for first, end in _pairs(other.bounds))

    def __bool__(self) -> bool:
        return bool(self.bounds)


EVERYWHERE: Final = Networks()


@dataclass(frozen=True, slots=True)
class _Span:
    """One entry of the list: its canonical text, first number, and the number behind its last."""

    text: str
    first: int
    end: int

    @classmethod
    def parse(cls, text: str) -> _Span:
        try:
            if "%" in text:
                raise ValueError("an address here has no zone")
            if "-" in text:
                first, last = text.split("-", 1)
                return cls._range(first, last)
            if "/" in text:
                return cls._network(text)
            return cls._single(text)
        except ValueError as fault:
            raise ValueError(f"{text!r} is not an address, network or range: {fault}") from None

    @classmethod
    def _single(cls, text: str) -> _Span:
        address = unmapped(ip_address(text.strip()))
        return cls(str(address), number_of(address), number_of(address) + 1)

    @classmethod
    def _range(cls, first_text: str, last_text: str) -> _Span:
        first, last = cls._single(first_text), cls._single(last_text)
        if (first.first < _FIRST_V6) != (last.first < _FIRST_V6):
            raise ValueError("both ends must be of one kind, IPv4 or IPv6")
        if first.first > last.first:
            raise ValueError("the first address is above the last")
        return cls(f"{first.text}-{last.text}", first.first, last.end)

    @classmethod
    def _network(cls, text: str) -> _Span:
        if not _PREFIX.fullmatch(text.strip().partition("/")[2]):
            raise ValueError("behind the slash stands a prefix length")
        network = ip_network(text.strip(), strict=False)
        # Refused, not repaired: 10.0.0.5/8 is as often meant as /32 as it is as 10.0.0.0/8.
        if str(network.network_address) != str(ip_address(text.strip().partition("/")[0])):
            raise ValueError(f"it has bits set behind its prefix; {network} would be right")
        network = _unmapped_network(network)
        first = number_of(network.network_address)
        return cls(str(network), first, first + network.num_addresses)


def unmapped(ip: Address) -> Address:
    """Return the address itself, which is the IPv4 one where it is written as an IPv6 one."""
    if isinstance(ip, IPv6Address):
        return ip.ipv4_mapped or ip
    return ip


def number_of(ip: Address) -> int:
    """The number by which ``bounds`` know an address."""
    if isinstance(ip, IPv6Address):
        mapped = ip.ipv4_mapped
        return int(ip) + _FIRST_V6 if mapped is None else int(mapped)
    return int(ip)


def _unmapped_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((int(mapped), network.prefixlen - _MAPPED_BITS))
    return network


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    bounds: list[int] = []
    for first, end in sorted(ranges):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (first, end)
    return tuple(bounds)


def _pairs(bounds: tuple[int, ...]) -> Iterable[tuple[int, int]]:
    return zip(bounds[::2], bounds[1::2], strict=True)


def _lies_in_one(bounds: tuple[int, ...], first: int, end: int) -> bool:
    place = bisect_right(bounds, first)
    return place % 2 == 1 and end <= bounds[place]
