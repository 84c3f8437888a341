"""``Forwarded`` (RFC 7239): who is calling, as a trusted proxy says it.

Law: as ``peer.py``: from the right, up to the first address that nobody vouches for, and never past a hop
that names no address (``unknown``, ``_hidden``, one without ``for``).

Quotes make the list's order of reading matter: a client may send a quote that it never closes, in the hope
that it swallows what the proxy appends. So elements are recognised from the right: the shortest right end
that is a well-formed element is the last one. An element that escapes its quotes as it must cannot contain
such an end: a quote that opens a value follows ``=``, and inside a quoted string it follows a backslash.
A quote never reaches across lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from keystile.wire.grammar import HOST, TOKEN
from keystile.wire.peer import MAX_HOPS, Address, Trusted, parse_hop

#: Commas that one element may hold within quotes; behind more of them it is not looked for.
MAX_COMMAS: Final = 8

_QUOTED: Final = rb'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"'
_PAIR: Final = re.compile(rb"(" + TOKEN + rb"++)=(?:(" + TOKEN + rb"++)|" + _QUOTED + rb")")
_ESCAPE: Final = re.compile(rb"\\(.)")


class Told(NamedTuple):
    """What the proxies say of the caller: ``address``, and ``proto`` and ``host`` (empty where not said)."""

    address: Address
    proto: bytes = b""
    host: bytes = b""


def told_by(socket_ip: Address, lines: Sequence[bytes], trusted: Trusted) -> Told:
    """The right-most ``for`` that is not a trusted proxy. ``lines``: the values of all fields, in order.

    Never raises: at an element that cannot be read, the last trusted hop is the caller.
    """
    told = Told(socket_ip)
    for hop, element in enumerate(_elements(lines)):
        if hop > MAX_HOPS or not trusted.holds(told.address):
            return told
        try:
            told = _hop(element)
        except ValueError:
            return told
    return told


def _elements(lines: Sequence[bytes]) -> Iterator[dict[bytes, bytes]]:
    """The elements from the right to the left. Raises nothing: what cannot be read is an empty one."""
    for line in reversed(lines):
        end = len(line)
        while end >= 0:
            element, end = _last_element(line, end)
            yield element


def _last_element(line: bytes, end: int) -> tuple[dict[bytes, bytes], int]:
    """The last element of ``line[:end]``, and where what stands before it ends (-1: nothing does)."""
    comma = end
    for _ in range(MAX_COMMAS + 1):
        comma = line.rfind(b",", 0, comma)
        pairs = _pairs(line[comma + 1 : end].strip(b" \t"))
        if pairs is not None:
            return pairs, comma
        if comma < 0:
            break
    return {}, -1


def _pairs(element: bytes) -> dict[bytes, bytes] | None:
    """The parameters of an element by their lower-case names; None where it is none, or names one twice."""
    pairs: dict[bytes, bytes] = {}
    at = 0
    while (match := _PAIR.match(element, at)) is not None:
        name = match[1].lower()
        if name in pairs:
            return None
        pairs[name] = match[2] if match[3] is None else _ESCAPE.sub(rb"\1", match[3])
        at = match.end()
        if at == len(element):
            return pairs
        if element[at : at + 1] != b";":
            return None
        at += 1
    return None


def _hop(element: dict[bytes, bytes]) -> Told:
    """What an element says. Raises ``ValueError`` where its ``for`` is no address."""
    node = element.get(b"for", b"").decode("ascii")
    if node.count(":") > 1 and not node.startswith("["):
        raise ValueError("an IPv6 address stands in brackets")
    proto, host = element.get(b"proto", b"").lower(), element.get(b"host", b"")
    return Told(
        parse_hop(node),
        proto if proto in (b"http", b"https") else b"",
        host if HOST.fullmatch(host) is not None else b"",
    )
