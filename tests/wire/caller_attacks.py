"""Who is calling, under attack: what clients and proxies say of it, and who is believed: rows.

Every row's socket is 127.0.0.1. Restrictions, the cap and the log go by the address that a row ends in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.wire.proxy_headers import V4, tlv, v2, with_checksum

ASK = b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n"
ITSELF = "127.0.0.1"
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.9 5678 443\r\n"


@dataclass(frozen=True, slots=True)
class Caller:
    """``sent``: the client's bytes; ``address``: whom the request counts for, None where no request may come of it.

    ``announced``: the listener wants a PROXY protocol header; ``trusted``: the socket's address is a trusted proxy;
    ``by``: the field that is believed. ``cut``: the client ends its side behind what it sent.
    """

    family: str
    name: str
    sent: bytes
    address: str | None
    announced: bool = False
    trusted: bool = True
    by: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    cut: bool = False


CALLERS: list[Caller] = []


def announced(name: str, header: bytes, address: str | None, *fields: bytes, trusted: bool = True) -> None:
    """On a listener that wants a PROXY protocol header."""
    sent = header + ASK + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"
    CALLERS.append(Caller("PROXY", name, sent, address, announced=True, trusted=trusted))


announced("v1 is believed", V1, "192.0.2.7")
announced("v2 is believed", v2(), "192.0.2.7")
announced("v2 with a checksum is believed", with_checksum(), "192.0.2.7")
announced("a stranger's v1 is not", V1, None, trusted=False)
announced("a stranger's v2 is not", v2(), None, trusted=False)
announced("v2 LOCAL is the proxy itself", v2(0x20, 0x00, b""), ITSELF)
announced("v2 LOCAL, and fields that claim more", v2(0x20, 0x00, b""), ITSELF, b"X-Forwarded-For: 6.6.6.6")
announced("v1 UNKNOWN, and fields that claim more", b"PROXY UNKNOWN\r\n", ITSELF, b"X-Forwarded-For: 6.6.6.6")
announced("behind a header, fields are a client's", V1, "192.0.2.7", b"X-Forwarded-For: 6.6.6.6")
announced("a mapped address is IPv4's", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7")
announced("no header", b"", None)
announced("a wrong checksum", with_checksum(wrong=1), None)
announced("a second header", V1 + b"PROXY TCP4 6.6.6.6 6.6.6.6 1 2\r\n", None)
announced("a second header of v2", v2() + v2(block=bytes([6, 6, 6, 6]) + V4[4:]), None)
announced("v1 with a bare LF", V1.replace(b"\r\n", b"\n"), None)
announced("v1 that never ends", b"PROXY TCP4 192.0.2.7 10.0.0.9 5678 443 " + b"1" * 200 + b"\r\n", None)
announced("v2 whose length takes in the request", v2(length=len(V4) + 20), None)
announced("v2 whose length is short", v2(length=len(V4) - 4), None)
announced("v2 with a TLV that runs over", v2(block=V4 + b"\x04\xff\xff"), None)
announced("v2 of another version", v2(command=0x31), None)
announced("v2 with an unknown command", v2(command=0x22), None)
announced("bytes before the header", b" " + V1, None)
for _name, _header in (("v1", V1), ("v2", with_checksum(after=tlv(4, b"pad")))):
    for _end in (1, 5, 6, 12, 15, 16, 20, len(_header) - 1):
        CALLERS.append(Caller("PROXY", f"{_name} cut after {_end}", _header[:_end], None, announced=True, cut=True))
CALLERS.append(Caller("PROXY", "a header where none is wanted", V1 + ASK + b"\r\n", None))


def told(family: Literal["X-Forwarded-For", "Forwarded"], name: str, address: str, *lines: bytes, **more: bool) -> None:
    """By a field; ``lines`` are its values."""
    fields = b"".join(b"%b: %b\r\n" % (family.encode(), line) for line in lines)
    if "other" in more:
        fields = fields.replace(family.encode(), b"Forwarded" if family == "X-Forwarded-For" else b"X-Forwarded-For")
    trusted = more.get("trusted", True)
    CALLERS.append(Caller(family, name, ASK + fields + b"\r\n", address, trusted=trusted, by=family))


_XFF: Literal["X-Forwarded-For"] = "X-Forwarded-For"
told(_XFF, "one address", "192.0.2.7", b"192.0.2.7")
told(_XFF, "the right-most counts", "192.0.2.7", b"6.6.6.6, 192.0.2.7")
told(_XFF, "trusted hops are passed over", "192.0.2.7", b"6.6.6.6, 192.0.2.7, 127.0.0.2, 127.0.0.3")
told(_XFF, "several lines are one list", "192.0.2.7", b"6.6.6.6", b"192.0.2.7, 127.0.0.2")
told(_XFF, "a stranger says nothing", ITSELF, b"192.0.2.7", trusted=False)
told(_XFF, "a port", "192.0.2.7", b"192.0.2.7:1234")
told(_XFF, "IPv6 in brackets with a port", "2001:db8::7", b"[2001:db8::7]:1234")
told(_XFF, "a mapped address is IPv4's", "192.0.2.7", b"::ffff:192.0.2.7")
told(_XFF, "a mapped trusted hop is passed over", "192.0.2.7", b"192.0.2.7, ::ffff:127.0.0.2")
told(_XFF, "garbage at the right stops at the proxy", ITSELF, b"192.0.2.7, nonsense")
told(_XFF, "garbage behind a trusted hop stops there", "127.0.0.2", b"192.0.2.7, ;, 127.0.0.2")
told(_XFF, "an empty entry stops", ITSELF, b"192.0.2.7, ")
told(_XFF, "nothing but commas", ITSELF, b",,,")
told(_XFF, "a leading zero is no address", ITSELF, b"192.0.2.07")
told(_XFF, "the other field is never read", ITSELF, b"for=192.0.2.7", other=True)
_FWD: Literal["Forwarded"] = "Forwarded"
told(_FWD, "one element", "192.0.2.7", b"for=192.0.2.7")
told(_FWD, "the right-most counts", "192.0.2.7", b"for=6.6.6.6, for=192.0.2.7;proto=https")
told(_FWD, "trusted hops are passed over", "192.0.2.7", b"for=192.0.2.7, for=127.0.0.2")
told(_FWD, "several lines are one list", "192.0.2.7", b"for=6.6.6.6", b"For=192.0.2.7")
told(_FWD, "a stranger says nothing", ITSELF, b"for=192.0.2.7", trusted=False)
told(_FWD, "IPv6 is quoted", "2001:db8::7", b'for="[2001:db8::7]:1234"')
told(_FWD, "a mapped address is IPv4's", "192.0.2.7", b'for="[::ffff:192.0.2.7]"')
told(_FWD, "unknown names nobody", ITSELF, b"for=192.0.2.7, for=unknown")
told(_FWD, "hidden names nobody", ITSELF, b"for=192.0.2.7, for=_hidden")
told(_FWD, "an element without for stops", ITSELF, b"for=192.0.2.7, proto=https")
told(_FWD, "for twice in an element", ITSELF, b"for=6.6.6.6;for=192.0.2.7")
told(_FWD, "a quote that never closes swallows nothing", "192.0.2.7", b'for="6.6.6.6, for=192.0.2.7')
told(_FWD, "a comma in quotes is no end", "192.0.2.7", b'for=6.6.6.6;x=", for=6.6.6.7, ";y=z, for=192.0.2.7')
told(_FWD, "an escape in quotes", "192.0.2.7", b'for="192.0.2\\.7"')
told(_FWD, "empty elements name nobody", ITSELF, b"for=192.0.2.7, ")
told(_FWD, "the other field is never read", ITSELF, b"192.0.2.7", other=True)

FAMILIES = tuple(dict.fromkeys(row.family for row in CALLERS))
