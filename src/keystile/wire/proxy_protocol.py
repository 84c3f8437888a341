"""The PROXY protocol, versions 1 and 2: what a proxy says about a connection before its first byte.

Law: bytes in, the announced address out (proxy-protocol.txt, sections 2.1 and 2.2). Whether the sender may
be believed is decided before anything is read, elsewhere. Nothing is guessed: what does not match the
specification ends the connection, and a header ends exactly where it says.

Deliberate readings, where the specification leaves a choice:

- LOCAL, UNKNOWN, UNSPEC, UNIX and datagram transports give no address: the connection is the proxy's own.
- Of the TLVs, CRC32C is verified; the others are walked over, and must fit exactly.
- A header of version 2 may have ``MAX_V2`` bytes; nginx has the same bound.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from keystile.wire.crc32c import crc32c
from keystile.wire.peer import Address, unmapped

#: Bytes of the longest line of version 1, its CRLF included.
MAX_V1: Final = 107
#: Bytes that a header of version 2 may have.
MAX_V2: Final = 4096

V1_START: Final = b"PROXY "
V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"

_V1: Final = re.compile(
    rb"PROXY (?:(?P<unknown>UNKNOWN(?: [^\r\n]*)?)|TCP(?P<family>[46]) (?P<source>[0-9A-Fa-f:.]+) "
    rb"(?P<target>[0-9A-Fa-f:.]+) (?P<port>0|[1-9][0-9]{0,4}) (?P<target_port>0|[1-9][0-9]{0,4}))"
)
_V2_HEAD: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_TCP4: Final = 0x11
_TCP6: Final = 0x21
#: Bytes of addresses and ports by address family (the high four bits); other families are invalid.
_ADDRESS_BYTES: Final = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
_CRC32C: Final = 0x03


class BadProxyHeader(ValueError):
    """The connection does not begin with a PROXY protocol header that can be believed. The text is for our log."""


class ProxyHeader(NamedTuple):
    """``source``: whose connection it is, None where the header names nobody; ``size``: its bytes."""

    source: Address | None
    size: int


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header at the start of ``data``; None while it has not ended. Raises ``BadProxyHeader``."""
    if data[:1] == b"P":
        return _read_v1(data)
    if data[: len(V2_START)] != V2_START[: len(data)]:
        raise BadProxyHeader("there is none")
    return _read_v2(data)


# -- version 1 -----------------------------------------------------------------------------------------


def _read_v1(data: bytes) -> ProxyHeader | None:
    if data[: len(V1_START)] != V1_START[: len(data)]:
        raise BadProxyHeader("there is none")
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        line = data[: MAX_V1 - 1].removesuffix(b"\r")
        if len(data) >= MAX_V1 or b"\n" in line or b"\r" in line:
            raise BadProxyHeader("its line does not end as it must")
        return None
    match = _V1.fullmatch(data, 0, end)
    if match is None:
        raise BadProxyHeader("its line is not well-formed")
    source = None if match["unknown"] else _v1_source(match)
    return ProxyHeader(source, end + 2)


def _v1_source(match: re.Match[bytes]) -> Address:
    kind = ipaddress.IPv4Address if match["family"] == b"4" else ipaddress.IPv6Address
    try:
        source, _ = kind(match["source"].decode("ascii")), kind(match["target"].decode("ascii"))
    except ValueError:
        raise BadProxyHeader("an address is not well-formed") from None
    if int(match["port"]) > 65535 or int(match["target_port"]) > 65535:
        raise BadProxyHeader("a port is above 65535")
    return unmapped(source)


# -- version 2 -----------------------------------------------------------------------------------------


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise BadProxyHeader("its version or command is not known")
    if len(data) < _V2_HEAD:
        return None
    size = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if size > MAX_V2:
        raise BadProxyHeader("it is too long")
    local, family = data[12] == _LOCAL, data[13]
    if not local:
        _check_family(family, size)
    if len(data) < size:
        return None
    if local:  # the rest, its family included, means nothing
        return ProxyHeader(None, size)
    header = data[:size]
    _check_tlvs(header, _V2_HEAD + _ADDRESS_BYTES[family >> 4])
    if family == _TCP4:
        return ProxyHeader(ipaddress.IPv4Address(header[16:20]), size)
    if family == _TCP6:
        return ProxyHeader(unmapped(ipaddress.IPv6Address(header[16:32])), size)
    return ProxyHeader(None, size)


def _check_family(family: int, size: int) -> None:
    needed = _ADDRESS_BYTES.get(family >> 4)
    if needed is None or family & 0x0F > 2:
        raise BadProxyHeader("its family or transport is not known")
    if size < _V2_HEAD + needed:
        raise BadProxyHeader("it is too short for its addresses")


def _check_tlvs(header: bytes, at: int) -> None:
    """Walk over the TLVs from ``at`` on: they fill the header exactly, and a checksum among them is right."""
    checked = False
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if end > len(header) or value > len(header):
            raise BadProxyHeader("a TLV does not fit")
        if header[at] == _CRC32C:
            if checked or end - value != 4:
                raise BadProxyHeader("its checksum is not well-formed")
            checked = True
            if crc32c(header[:value] + bytes(4) + header[end:]) != int.from_bytes(header[value:end], "big"):
                raise BadProxyHeader("its checksum is wrong")
        at = end
