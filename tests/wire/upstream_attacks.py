"""What servers have answered, by mistake or on purpose, to poison the next answer: rows, by family.

An answer is a script of bytes to send and of what happens to the connection then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

#: What the server does with its connection after the bytes.
Then = Literal["keep", "close", "reset"]


@dataclass(frozen=True, slots=True)
class Misanswer:
    """``sent``: the bytes, one piece after the other, of the first answer; ``status``: what the client gets, or
    None where its answer must be cut; ``body``: what it gets with it; ``reused``: the server's connection may
    carry the next request; ``sends``: the client's request but for its target, Host and key.
    """

    family: str
    name: str
    sent: tuple[bytes, ...]
    status: int | None
    body: bytes = b""
    reused: bool = False
    then: Then = "keep"
    method: bytes = b"GET"
    version: bytes = b"HTTP/1.1"
    fields: bytes = b""


MISANSWERS: list[Misanswer] = []


def unreadable(family: str, name: str, *sent: bytes, then: Then = "keep", method: bytes = b"GET") -> None:
    """The client is told 502; the connection carries nothing else."""
    MISANSWERS.append(Misanswer(family, name, sent, 502, then=then, method=method))


def cut(family: str, name: str, *sent: bytes, then: Then = "keep", version: bytes = b"HTTP/1.1") -> None:
    """The head was passed on already: the client's connection is cut, never ended cleanly."""
    MISANSWERS.append(Misanswer(family, name, sent, None, then=then, version=version))


def passed(family: str, name: str, *sent: bytes, body: bytes = b"hello", **more: object) -> None:
    """The answer goes through whole."""
    more.setdefault("status", 200)
    MISANSWERS.append(Misanswer(family, name, sent, body=body, **more))  # type: ignore[arg-type]


_five = b"5\r\nhello\r\n0\r\n\r\n"
for _name, _fields in {
    "length, then chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunked, then length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 10\r\n",
    "one length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of one length": b"Content-Length: 5, 5\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunked in a list": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice in a list": b"Transfer-Encoding: chunked, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\n",
    "a coding with a parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
    "an empty length": b"Content-Length:\r\n",
    "plus": b"Content-Length: +5\r\n",
    "minus": b"Content-Length: -5\r\n",
    "underscore": b"Content-Length: 0_5\r\n",
    "hexadecimal": b"Content-Length: 0x5\r\n",
    "superscript": b"Content-Length: \xb2\r\n",
    "above 64 bits": b"Content-Length: 18446744073709551621\r\n",
    "5,000 digits": b"Content-Length: " + b"0" * 4999 + b"5\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n",
    "space before the colon of a length": b"Content-Length : 5\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
}.items():
    unreadable("two framings", _name, OK + _fields + b"\r\n" + _five)

unreadable("101", "unasked", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
unreadable("101", "for a protocol", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
unreadable("101", "with an answer behind", b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + LENGTH + b"\r\nhello")
unreadable("101", "after 103", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n")
unreadable("101", "to a POST", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", method=b"POST")
_upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
passed("101", "asked for by the client only", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", status=502, fields=_upgrade)
_to_websocket = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
passed("200 for 101", "with Upgrade is no tunnel", LENGTH + _to_websocket + b"\r\nhello", fields=_upgrade, reused=True)
passed("200 for 101", "with Upgrade and bytes behind", LENGTH + b"Upgrade: websocket\r\n\r\nhello" + EVIL,
       fields=_upgrade)  # fmt: skip
passed("200 for 101", "with chunks and bytes behind",
       CHUNKED + _to_websocket + b"\r\n5\r\nhello\r\n0\r\n\r\n" + EVIL, fields=_upgrade)  # fmt: skip
passed("200 for 101", "without a length", OK + _to_websocket + b"\r\nhello", fields=_upgrade, then="close")
passed("200 for 101", "nobody asked for an upgrade", LENGTH + _to_websocket + b"\r\nhello", reused=True)
passed("200 for 101", "to HEAD", LENGTH + _to_websocket + b"\r\n", fields=_upgrade, method=b"HEAD", body=b"",
       reused=True)  # fmt: skip

_hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
unreadable("1xx", "17 of them", _hints * 17 + LENGTH + b"\r\nhello")
unreadable("1xx", "a thousand", _hints * 1000)
unreadable("1xx", "a thousand times 100, one by one", *[b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000)
unreadable("1xx", "one with a body", b"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\nhello" + LENGTH + b"\r\nhello")
unreadable("1xx", "one with two framings", b"HTTP/1.1 102 P\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")
unreadable("1xx", "nothing behind it", _hints, then="close")
unreadable("1xx", "half a head behind it", _hints + b"HTTP/1.1 2", then="close")
passed("1xx", "16 of them", _hints * 16 + LENGTH + b"\r\nhello", reused=True)
passed("1xx", "one by one", *[_hints] * 5, LENGTH, b"\r\nhello", reused=True)
passed("1xx", "to HTTP/1.0, which knows none", _hints + LENGTH + b"\r\nhello", version=b"HTTP/1.0", reused=True)
passed("1xx", "100 that nobody asked for", b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"\r\nhello", reused=True)

for _then in ("close", "reset"):
    cut("truncated", f"half a length, {_then}", OK + b"Content-Length: 10\r\n\r\nhello", then=_then)
    cut("truncated", f"no body, {_then}", OK + b"Content-Length: 10\r\n\r\n", then=_then)
    cut("truncated", f"no last chunk, {_then}", CHUNKED + b"\r\n5\r\nhello\r\n", then=_then)
    cut("truncated", f"half a last chunk, {_then}", CHUNKED + b"\r\n5\r\nhello\r\n0\r\n", then=_then)
    cut("truncated", f"half a chunk, {_then}", CHUNKED + b"\r\n5\r\nhel", then=_then)
    cut("truncated", f"half a trailer, {_then}", CHUNKED + b"\r\n0\r\nX: y\r\n", then=_then)
    cut("truncated", f"to HTTP/1.0, {_then}", CHUNKED + b"\r\n5\r\nhello\r\n", then=_then, version=b"HTTP/1.0")
    unreadable("truncated", f"half a head, {_then}", LENGTH, then=_then)
    unreadable("truncated", f"half a status line, {_then}", b"HTTP/1.1 20", then=_then)
    unreadable("truncated", f"nothing at all, {_then}", then=_then)
    unreadable("truncated", f"nothing at all to a POST, {_then}", then=_then, method=b"POST")

passed("over-long", "bytes behind a length", LENGTH + b"\r\nhello" + EVIL)
passed("over-long", "one byte behind a length", LENGTH + b"\r\nhello!")
passed("over-long", "a line end behind a length", LENGTH + b"\r\nhello\r\n")
passed("over-long", "an answer behind chunks", CHUNKED + b"\r\n" + _five + EVIL)
passed("over-long", "one byte behind chunks", CHUNKED + b"\r\n" + _five + b"0")
passed("over-long", "behind an empty body", OK + b"Content-Length: 0\r\n\r\n" + EVIL, body=b"")
passed("over-long", "in a second piece", LENGTH + b"\r\nhel", b"lo" + EVIL)
for _name, _chunks in {
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "too long": b"4\r\nhello\r\n0\r\n\r\n",
    "line feed": b"5\nhello\r\n0\r\n\r\n",
    "64 bits": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a bad trailer": b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
}.items():
    cut("over-long", f"bad chunks behind the head: {_name}", CHUNKED + b"\r\n", _chunks)
    unreadable("over-long", f"bad chunks with the head: {_name}", CHUNKED + b"\r\n" + _chunks)

for _name, _line in {
    "status of two digits": b"HTTP/1.1 20 OK",
    "status of four digits": b"HTTP/1.1 2000 OK",
    "status 099": b"HTTP/1.1 099 OK",
    "status 600": b"HTTP/1.1 600 OK",
    "status with a letter": b"HTTP/1.1 20x OK",
    "status with a plus": b"HTTP/1.1 +20 OK",
    "no status": b"HTTP/1.1 OK",
    "no space": b"HTTP/1.1200 OK",
    "two spaces": b"HTTP/1.1  200 OK",
    "a tab": b"HTTP/1.1\t200 OK",
    "another version": b"HTTP/1.2 200 OK",
    "HTTP/2": b"HTTP/2 200 OK",
    "HTTP/2.0": b"HTTP/2.0 200 OK",
    "small letters": b"http/1.1 200 OK",
    "another protocol": b"ICY 200 OK",
    "an empty line before": b"\r\nHTTP/1.1 200 OK",
    "a space before": b" HTTP/1.1 200 OK",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K",
    "carriage return in the reason": b"HTTP/1.1 200 O\rK",
    "line feed in the reason": b"HTTP/1.1 200 O\nX: y",
    "a web page": b"<html>hello</html>",
}.items():
    unreadable("status lines", _name, _line + b"\r\nContent-Length: 5\r\n\r\nhello", then="close")
unreadable("status lines", "HTTP/0.9", b"hello", then="close")
unreadable("status lines", "line feeds only", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", then="close")
passed("status lines", "no reason", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", reused=True)
passed("status lines", "an empty reason", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", reused=True)

for _name, _field in {
    "folded": b"X: a\r\n b",
    "NUL": b"X: \x00",
    "carriage return": b"X: a\rb",
    "line feed": b"X: a\nY: b",
    "DEL": b"X: \x7f",
    "space in a name": b"X Y: z",
    "empty name": b": x",
    "no colon": b"X",
    "an answer hidden behind line feeds": b"X: y\n\nHTTP/1.1 200 OK",
}.items():
    unreadable("fields", _name, LENGTH + _field + b"\r\n\r\nhello")
unreadable("fields", "too many bytes", LENGTH + b"X: " + b"a" * 70_000 + b"\r\n\r\nhello")
unreadable("fields", "too many bytes without an end", LENGTH + b"X: " + b"a" * 70_000)

for _name, _head in {
    "a length": LENGTH,
    "chunked": CHUNKED,
    "nothing": OK,
}.items():
    passed("no body", f"HEAD with {_name}", _head + b"\r\n", method=b"HEAD", body=b"", reused=True)
    passed("no body", f"HEAD with {_name} and a body", _head + b"\r\nhello", method=b"HEAD", body=b"")
for _status in (204, 304):
    _start = b"HTTP/1.1 %d X\r\n" % _status
    for _name, _field in {"a length": b"Content-Length: 5\r\n", "chunks": b"Transfer-Encoding: chunked\r\n"}.items():
        passed("no body", f"{_status} with {_name}", _start + _field + b"\r\n", body=b"", status=_status, reused=True)
        passed("no body", f"{_status} with {_name} and an answer", _start + _field + b"\r\n" + EVIL, body=b"",
               status=_status)  # fmt: skip

_old = b"HTTP/1.0 200 OK\r\n"
passed("HTTP/1.0", "answer with a length", _old + b"Content-Length: 5\r\n\r\nhello")
passed("HTTP/1.0", "answer that would be kept", _old + b"Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")
passed("HTTP/1.0", "answer until the end", _old + b"\r\nhello", then="close")
unreadable("HTTP/1.0", "answer with chunks", _old + b"Transfer-Encoding: chunked\r\n\r\n" + _five)
cut("HTTP/1.0", "answer until a reset", _old + b"\r\nhello", then="reset")
passed("HTTP/1.0", "client, chunked answer", CHUNKED + b"\r\n" + _five, version=b"HTTP/1.0", reused=True)
passed("HTTP/1.0", "client, answer with a length", LENGTH + b"\r\nhello", version=b"HTTP/1.0", reused=True)
passed("HTTP/1.0", "client, answer until the end", OK + b"\r\nhello", version=b"HTTP/1.0", then="close")
cut("HTTP/1.0", "client, answer until a reset", OK + b"\r\nhello", version=b"HTTP/1.0", then="reset")
passed("HTTP/1.0", "client that keeps, chunked answer", CHUNKED + b"\r\n" + _five, version=b"HTTP/1.0", reused=True,
       fields=b"Connection: keep-alive\r\n")  # fmt: skip

passed("until the end", "a body", OK + b"\r\nhello", then="close")
passed("until the end", "in pieces", OK, b"\r\nhel", b"lo", then="close")
passed("until the end", "no body at all", OK + b"\r\n", body=b"", then="close")
passed("until the end", "an answer as body", OK + b"\r\n" + EVIL, body=EVIL, then="close")
cut("until the end", "a reset", OK + b"\r\nhello", then="reset")
cut("until the end", "a reset with nothing behind the head", OK + b"\r\n", then="reset")
passed("until the end", "a length and Connection: close", LENGTH + b"Connection: close\r\n\r\nhello")
passed("until the end", "chunks and Connection: close", CHUNKED + b"Connection: x, Close\r\n\r\n" + _five)

passed("splitting", "a whole answer in a reflected field",
       b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" + EVIL + b"\r\nContent-Length: 0\r\n\r\n",
       status=302, body=b"")  # fmt: skip
passed("splitting", "two whole answers", LENGTH + b"\r\nhello" + EVIL + EVIL)
passed("splitting", "an answer behind one until the end", OK + b"\r\nhello" + EVIL, body=b"hello" + EVIL, then="close")
_lengths = b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"
unreadable("splitting", "a length reflected before ours", OK + b"X: y\r\n" + _lengths)
unreadable("splitting", "a line feed reflected", OK + b"Location: /x\n" + _lengths)

#: Bytes that arrive on a connection which carries no request: it ends, and they are nobody's answer.
IDLE_BYTES = {
    "an answer": EVIL,
    "a byte": b"x",
    "an empty line": b"\r\n",
    "408": b"HTTP/1.1 408 X\r\nContent-Length: 0\r\n\r\n",
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\n",
}
#: Whole answers; the server's connection ends at every byte of each, closed or reset.
ENDED_ANYWHERE = {
    "length": LENGTH + b"\r\nhello",
    "chunked": CHUNKED + b"\r\n" + _five,
    "after 103": _hints + LENGTH + b"\r\nhello",
}

FAMILIES = sorted({row.family for row in MISANSWERS})
