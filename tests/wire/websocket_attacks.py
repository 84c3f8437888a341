"""What has been hidden behind an opening handshake of WebSocket, by clients and by servers: rows.

``/ws`` serves WebSockets, ``/any/*`` does not. Whatever stands behind a handshake asks for ``/any/smuggled``: as a
request of its own it may reach the upstream only where the handshake was an ordinary request, never otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from keystile.wire.websocket import accept_for

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OTHER_KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
KEYED = b"Host: a\r\nX-Api-Key: <key>\r\n"
GET = b"GET /ws HTTP/1.1\r\n" + KEYED
FIELDS = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n" % KEY
)
HIDDEN = b"GET /any/smuggled HTTP/1.1\r\nHost: a\r\nX-Api-Key: <key>\r\n\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_for(KEY)
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
FRAME = b"\x81\x85\x00\x00\x00\x00hello"


@dataclass(frozen=True, slots=True)
class Handshake:
    """``sent``: the client's bytes, ``<key>`` for its key; ``status``: of the one answer that it gets; ``answered``:
    the server's bytes to it; ``reached``: whether the server may see it; ``early``: the server waits until all of
    ``sent`` has come; ``goes_on``: it was no handshake, so the connection carries another request;
    ``through``: a tunnel opens, and exactly these bytes come to the server, or None.
    """

    name: str
    sent: bytes
    status: int
    answered: bytes = SWITCHED
    reached: bool = True
    early: bool = False
    goes_on: bool = False
    through: bytes | None = None
    family: str = "WebSocket"


HANDSHAKES: list[Handshake] = []


def refused(name: str, sent: bytes, status: int = 400) -> None:
    """The server never sees it, and nothing behind it is read."""
    HANDSHAKES.append(Handshake(name, sent + HIDDEN, status, reached=False))


def answered(name: str, answer: bytes, status: int, sent: bytes = GET + FIELDS + b"\r\n") -> None:
    """No tunnel opens, and nothing behind it is read."""
    HANDSHAKES.append(Handshake(name, sent + HIDDEN, status, answer))


def ordinary(name: str, sent: bytes, status: int = 200, answer: bytes = OK) -> None:
    """A request like others."""
    HANDSHAKES.append(Handshake(name, sent, status, answer, goes_on=True))


def opened(name: str, sent: bytes, through: bytes, **more: object) -> None:
    """A tunnel."""
    HANDSHAKES.append(Handshake(name, sent, 101, through=through, **more))  # type: ignore[arg-type]


_head = GET + FIELDS
refused("handshake with a request as body", _head + b"Content-Length: 43\r\n\r\n")
refused("handshake with a body", _head + b"Content-Length: 5\r\n\r\nhello")
refused("handshake with chunks", _head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
refused("handshake with no chunks", _head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
refused("handshake with two framings", _head + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
refused("handshake that waits for 100", _head + b"Expect: 100-continue\r\n\r\n")
for _method in (b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"):
    refused(f"handshake by {_method.decode()}", _method + _head[3:] + b"\r\n")
for _name, _key in {
    "no key": b"",
    "two keys": b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Key: %b\r\n" % (KEY, OTHER_KEY),
    "the same key twice": b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Key: %b\r\n" % (KEY, KEY),
    "two keys in a list": b"Sec-WebSocket-Key: %b, %b\r\n" % (KEY, OTHER_KEY),
    "a short key": b"Sec-WebSocket-Key: AAAA\r\n",
    "a long key": b"Sec-WebSocket-Key: AAAA%b\r\n" % KEY,
    "a key with spare bits": b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB==\r\n",
    "a key without padding": b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n",
    "a key in base64url": b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAA_AA==\r\n",
    "an empty key": b"Sec-WebSocket-Key:\r\n",
    "a key that Connection takes away": FIELDS[FIELDS.index(b"Sec") : FIELDS.index(b"Sec-WebSocket-V")]
    + b"Connection: Sec-WebSocket-Key\r\n",
}.items():
    refused(_name, _head.replace(b"Sec-WebSocket-Key: %b\r\n" % KEY, _key) + b"\r\n")
for _name, _version in {
    "no version": b"",
    "version twice": b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
    "two versions": b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n",
}.items():
    refused(_name, _head.replace(b"Sec-WebSocket-Version: 13\r\n", _version) + b"\r\n")
for _value in (b"8", b"777", b"013", b"+13", b"13, 8", b"", b"13.0"):
    refused(f"version {_value.decode() or 'of nothing'}",
            _head.replace(b"Version: 13", b"Version: " + _value) + b"\r\n", 426)  # fmt: skip

for _name, _fields in {
    "h2c on such a route": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket, then h2c": FIELDS.replace(b": websocket", b": websocket, h2c"),
    "h2c, then websocket": FIELDS.replace(b": websocket", b": h2c, websocket"),
    "h2c, then websocket on lines of their own": FIELDS + b"Upgrade: h2c\r\n",
    "websocket with a version": FIELDS.replace(b": websocket", b": websocket/13"),
    "Connection that names no Upgrade": FIELDS.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
    "no Connection": FIELDS.replace(b"Connection: Upgrade\r\n", b""),
    "no Upgrade": FIELDS.replace(b"Upgrade: websocket\r\n", b"", 1),
}.items():
    ordinary(_name, GET + _fields + b"\r\n")
    ordinary(f"{_name}, and the server switches", GET + _fields + b"\r\n", 502, SWITCHED + EVIL)
ordinary("a handshake where no WebSocket is served", _head.replace(b"/ws", b"/any/a") + b"\r\n")
ordinary("a 101 where no WebSocket is served", _head.replace(b"/ws", b"/any/a") + b"\r\n", 502, SWITCHED + EVIL)
ordinary("a 101 that nobody asked for, with a proof", GET + FIELDS[FIELDS.index(b"Sec") :] + b"\r\n", 502, SWITCHED)

for _name, _answer in {
    "another proof": SWITCHED.replace(accept_for(KEY), accept_for(OTHER_KEY)),
    "no proof": SWITCHED.replace(b"Sec-WebSocket-Accept: %b\r\n" % accept_for(KEY), b""),
    "two proofs": SWITCHED.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept_for(KEY)),
    "a proof in small letters": SWITCHED.replace(accept_for(KEY), accept_for(KEY).lower()),
    "the key for a proof": SWITCHED.replace(accept_for(KEY), KEY),
    "another protocol": SWITCHED.replace(b": websocket", b": h2c"),
    "two protocols": SWITCHED.replace(b": websocket", b": websocket, h2c"),
    "no protocol": SWITCHED.replace(b"Upgrade: websocket\r\n", b""),
    "no Connection in the answer": SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
    "HTTP/1.0 in the answer": SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a 101 with a length": SWITCHED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "nothing but 101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "another 101 before": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + SWITCHED,
    "17 hints before": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + SWITCHED,
}.items():
    answered(_name, _answer, 502)
    answered(f"{_name}, with an answer behind", _answer + EVIL, 502)
_granting = SWITCHED.partition(b"\r\n")[2][:-2]
for _name, _answer, _status in (
    ("200", OK, 200),
    ("200 that says it switches", b"HTTP/1.1 200 OK\r\n" + _granting + b"Content-Length: 2\r\n\r\nok", 200),
    ("200 in chunks that says it switches", b"HTTP/1.1 200 OK\r\n" + _granting
     + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
    ("204", b"HTTP/1.1 204 No Content\r\n" + _granting + b"\r\n", 204),
    ("304", b"HTTP/1.1 304 Not Modified\r\n\r\n", 304),
    ("403", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
    ("426", b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426),
    ("200 with a 101 behind", OK + SWITCHED, 200),
):  # fmt: skip
    answered(f"{_name} to a handshake", _answer, _status)

# Found by fuzzing: a list with an empty element names one protocol (RFC 9110 §5.6.1).
_listed = GET + FIELDS.replace(b": websocket", b":,websocket") + b"\r\n"
opened("websocket behind an empty element", _listed + HIDDEN, HIDDEN)
opened("websocket before an empty line of its own", _head + b"Upgrade:\r\n\r\n" + HIDDEN, HIDDEN)

opened("a tunnel carries what looks like a request", _head + b"\r\n" + HIDDEN, HIDDEN)
opened("bytes before the 101", _head + b"\r\n" + FRAME + HIDDEN, FRAME + HIDDEN, early=True)
opened("many bytes before the 101", _head + b"\r\n" + HIDDEN * 300, HIDDEN * 300, early=True)
opened("an answer with the 101", _head + b"\r\n" + FRAME, FRAME, answered=SWITCHED + EVIL)
opened("a length of zero", _head + b"Content-Length: 0\r\n\r\n" + HIDDEN, HIDDEN)
opened("in capitals", _head.replace(b"websocket\r\n", b"WebSocket\r\n") + b"\r\n" + FRAME, FRAME)
opened("hints before the 101", _head + b"\r\n" + FRAME, FRAME,
       answered=b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCHED)  # fmt: skip
