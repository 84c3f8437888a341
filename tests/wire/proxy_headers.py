"""PROXY protocol headers for tests, right ones and wrong ones: rows."""

from __future__ import annotations

import ipaddress
import struct

from keystile.wire.crc32c import crc32c
from keystile.wire.proxy_protocol import V2_START

V4 = ipaddress.ip_address("192.0.2.7").packed + ipaddress.ip_address("10.0.0.9").packed + struct.pack("!HH", 5678, 443)
V6 = (
    ipaddress.ip_address("2001:db8::7").packed
    + ipaddress.ip_address("2001:db8::9").packed
    + struct.pack("!HH", 5678, 443)
)
UNIX = b"/tmp/client".ljust(108, b"\0") + b"/tmp/server".ljust(108, b"\0")


def v2(command: int = 0x21, family: int = 0x11, block: bytes = V4, length: int | None = None) -> bytes:
    """A header of version 2; ``length``: what it says of itself, where that is not true."""
    return V2_START + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(block: bytes = V4, family: int = 0x11, wrong: int = 0, after: bytes = b"") -> bytes:
    """A header with a CRC32C TLV (then ``after``), right unless ``wrong``."""
    blank = v2(0x21, family, block + tlv(3, bytes(4)) + after)
    checksum = struct.pack("!I", crc32c(blank) ^ wrong)
    at = 16 + len(block) + 3
    return blank[:at] + checksum + blank[at + 4 :]


#: Name, header, the address that it announces (None: nobody's).
RIGHT: list[tuple[str, bytes, str | None]] = [
    ("v1 TCP4", b"PROXY TCP4 192.0.2.7 10.0.0.9 5678 443\r\n", "192.0.2.7"),
    ("v1 TCP4, ports 0", b"PROXY TCP4 192.0.2.7 10.0.0.9 0 0\r\n", "192.0.2.7"),
    ("v1 TCP4, the longest", b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    ("v1 TCP6", b"PROXY TCP6 2001:DB8::7 ::1 5678 443\r\n", "2001:db8::7"),
    ("v1 TCP6, the longest", b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("v1 TCP6, mapped", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
    ("v1 UNKNOWN, short", b"PROXY UNKNOWN\r\n", None),
    ("v1 UNKNOWN, with words", b"PROXY UNKNOWN 6.6.6.6 \x00\xff 1 2\r\n", None),
    ("v1 UNKNOWN, the longest", b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None),
    ("v2 TCP4", v2(), "192.0.2.7"),
    ("v2 TCP6", v2(0x21, 0x21, V6), "2001:db8::7"),
    ("v2 TCP6, mapped", v2(0x21, 0x21, ipaddress.ip_address("::ffff:192.0.2.7").packed + V6[16:]), "192.0.2.7"),
    ("v2 LOCAL", v2(0x20, 0x00, b""), None),
    ("v2 LOCAL with an address", v2(0x20, 0x11, V4), None),
    ("v2 LOCAL, its block is skipped", v2(0x20, 0xFF, b"anything at all"), None),
    ("v2 UNSPEC", v2(0x21, 0x00, b""), None),
    ("v2 UNSPEC with a TLV", v2(0x21, 0x00, tlv(4, b"xx")), None),
    ("v2 UDP", v2(0x21, 0x12, V4), None),
    ("v2 INET without transport", v2(0x21, 0x10, V4), None),
    ("v2 UNIX", v2(0x21, 0x31, UNIX), None),
    ("v2 TLVs", v2(0x21, 0x11, V4 + tlv(1, b"h2") + tlv(0xEA, b"\x01vpce-1") + tlv(4, b"")), "192.0.2.7"),
    ("v2 checksum", with_checksum(), "192.0.2.7"),
    ("v2 checksum, then more", with_checksum(after=tlv(4, b"pad")), "192.0.2.7"),
    ("v2 checksum, TCP6", with_checksum(V6, 0x21), "2001:db8::7"),
    ("v2, the longest", v2(0x21, 0x11, V4 + tlv(4, bytes(4096 - 16 - 12 - 3))), "192.0.2.7"),
]  # fmt: skip

#: Name and bytes that must end a connection, whatever follows them.
WRONG: list[tuple[str, bytes]] = [
    ("a request instead", b"GET / HTTP/1.1\r\n"),
    ("a request that begins alike", b"PUT / HTTP/1.1\r\n"),
    ("a ClientHello instead", b"\x16\x03\x01\x00\xa5\x01"),
    ("an empty line instead", b"\r\n\r\nGET"),
    ("v1 in lower case", b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with a tab", b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with two spaces", b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with two spaces inside", b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n"),
    ("v1 with a space at the end", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
    ("v1 with one field more", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
    ("v1 with one field less", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
    ("v1 without addresses", b"PROXY TCP4\r\n"),
    ("v1 UDP4", b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 UNKNOWNS", b"PROXY UNKNOWNS\r\n"),
    ("v1 TCP4 with IPv6", b"PROXY TCP4 ::1 ::1 1 2\r\n"),
    ("v1 TCP6 with IPv4", b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with a leading zero", b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with 256", b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"),
    ("v1 with three numbers", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"),
    ("v1 with a hexadecimal address", b"PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n"),
    ("v1 with a zone", b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
    ("v1 with brackets", b"PROXY TCP6 [::1] ::1 1 2\r\n"),
    ("v1 with a host name", b"PROXY TCP4 localhost 1.2.3.4 1 2\r\n"),
    ("v1 with a wrong target", b"PROXY TCP4 1.2.3.4 1.2.3.999 1 2\r\n"),
    ("v1, port 65536", b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"),
    ("v1, target port 65536", b"PROXY TCP4 1.2.3.4 1.2.3.4 2 65536\r\n"),
    ("v1, port with a zero before it", b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
    ("v1, port with a sign", b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"),
    ("v1, port of nothing", b"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n"),
    ("v1, bare LF", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nGET / HTTP/1.1\r\n"),
    ("v1, bare CR", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rGET"),
    ("v1, CR CR LF", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n"),
    ("v1 UNKNOWN, bare LF", b"PROXY UNKNOWN\nGET / HTTP/1.1\r\n"),
    ("v1, one byte too long", b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n"),
    ("v1 without an end", b"PROXY TCP4 " + b"1" * 96),
    ("v2, version 1", v2(0x11)),
    ("v2, version 3", v2(0x31)),
    ("v2, command 2", v2(0x22)),
    ("v2, command 15", v2(0x2F)),
    ("v2, family 4", v2(0x21, 0x41)),
    ("v2, family 15", v2(0x21, 0xF1)),
    ("v2, transport 3", v2(0x21, 0x13)),
    ("v2, TCP4 too short", v2(0x21, 0x11, V4[:-1])),
    ("v2, TCP4 of nothing", v2(0x21, 0x11, b"")),
    ("v2, TCP6 with IPv4's length", v2(0x21, 0x21, V4)),
    ("v2, UNIX too short", v2(0x21, 0x31, UNIX[:-1])),
    ("v2, one byte too long", v2(0x21, 0x11, V4 + tlv(4, bytes(4096 - 16 - 12 - 3 + 1)))),
    ("v2, as long as can be said", v2(0x21, 0x11, V4, length=65535)),
    ("v2 LOCAL, as long as can be said", v2(0x20, 0x00, b"", length=65535)),
    ("v2, a TLV of one byte", v2(0x21, 0x11, V4 + b"\x04")),
    ("v2, a TLV of two bytes", v2(0x21, 0x11, V4 + b"\x04\x00")),
    ("v2, a TLV beyond the end", v2(0x21, 0x11, V4 + b"\x04\x00\x05abcd")),
    ("v2, a TLV beyond the end after a right one", v2(0x21, 0x11, V4 + tlv(4, b"a") + b"\x04\xff\xffab")),
    ("v2 UNSPEC with half a TLV", v2(0x21, 0x00, b"\x04\x00")),
    ("v2, a wrong checksum", with_checksum(wrong=1)),
    ("v2, a checksum of zero", v2(0x21, 0x11, V4 + tlv(3, bytes(4)))),
    ("v2, a checksum of three bytes", v2(0x21, 0x11, V4 + tlv(3, bytes(3)))),
    ("v2, a checksum of nothing", v2(0x21, 0x11, V4 + tlv(3, b""))),
    ("v2, two checksums", with_checksum(after=tlv(3, bytes(4)))),
]
