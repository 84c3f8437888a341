"""The rules of the wire once more, slowly: what a whole stream of bytes means, request by request or answer by answer.

Law: nothing of ``keystile`` is used here. It reads everything at once and knows no pieces, no time and no speed, so a
disagreement with ``keystile.wire`` is a fault in one of the two. Sources: RFC 9110, RFC 9112, and ARCHITECTURE.md where
the gateway is stricter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t -~\x80-\xff]*)")
_LINE = re.compile(rb"([A-Z][A-Z-]{0,23}) ([!-~]+) HTTP/1\.([01])")
_HOST = re.compile(rb"([0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)(/[!-~]*)?", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t -~\x80-\xff]*)?")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])( [\t -~\x80-\xff]*)?")
METHODS = frozenset(b"GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT".split())
HOP_BY_HOP = frozenset(
    b"connection http2-settings keep-alive proxy-authenticate proxy-authentication-info proxy-authorization "
    b"proxy-connection te trailer transfer-encoding upgrade".split()
)
_IDENTITY = frozenset(b"forwarded x-real-ip x-client-ip true-client-ip cf-connecting-ip x-request-id".split())
_OWN = frozenset(b"host content-length expect x-api-key".split())
_NO_ALIAS = frozenset(b"host content-length transfer-encoding connection expect".split())

_SOCKET_KEY = re.compile(rb"[0-9A-Za-z+/]{21}[AQgw]==")

#: How a stream ends: more may follow, it breaks a rule, nothing after it counts, or what follows is a tunnel's.
Ending = Literal["open", "refused", "closed", "asked"]


class BreaksARule(Exception):
    """These bytes are no message."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head: ``kept`` are the lines that go on, ``length`` is None without Content-Length.

    ``opening``: of a request that asks to become a WebSocket, its key, empty where no server may see it (RFC 6455
    §4.2.1); None of all others. ``secrets``: what was presented as an API key.
    """

    method: bytes
    target: bytes
    host: bytes
    kept: bytes
    length: int | None
    chunked: bool
    keep_alive: bool
    opening: bytes | None = None
    secrets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a gateway allows. ``secret``: the API key with which ``/ws`` becomes a WebSocket; empty where none does."""

    fields: int = 20
    head: int = 2048
    body: int = 1 << 40
    secret: bytes = b""


@dataclass(frozen=True, slots=True)
class Stream:
    """``requests``: heads with their whole bodies; ``begun``: the head whose body is unfinished or broken.

    ``rejected``: the method that a head which breaks a rule, or does not end, begins with: HEAD gets no body then.
    ``behind``: what came behind a request that asked to become a WebSocket, and is read as no request.
    """

    requests: tuple[tuple[Head, bytes], ...]
    begun: Head | None
    ending: Ending
    rejected: bytes = b""
    behind: bytes = b""


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    matches = [_FIELD.fullmatch(line) for line in lines]
    if None in matches:
        raise BreaksARule("a field line")
    return [(match[1], match[2].strip(b" \t")) for match in matches if match is not None]


def _one_length(values: list[bytes]) -> int | None:
    if not values:
        return None
    if len(values) > 1 or re.fullmatch(rb"[0-9]{1,18}", values[0]) is None:
        raise BreaksARule("Content-Length")
    return int(values[0])


def _options(values: list[bytes], alias: bool) -> set[bytes]:
    options = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    return {option.replace(b"_", b"-") for option in options} if alias else options


def read_head(block: bytes, bounds: Bounds) -> Head:
    """The head in ``block``, which ends with its empty line."""
    first, *lines = block[:-4].split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None or match[1] not in METHODS or len(block) > bounds.head or len(match[2]) > bounds.head // 2:
        raise BreaksARule("the request line")
    fields = _fields(lines)
    if len(fields) > bounds.fields:
        raise BreaksARule("too many fields")
    named = [(name.lower().replace(b"_", b"-"), name, value) for name, value in fields]
    if any(lowered in _NO_ALIAS and b"_" in name for lowered, name, _ in named):
        raise BreaksARule("an alias of a field that frames")
    values = {lowered: [value for other, _, value in named if other == lowered] for lowered, _, _ in named}
    return _checked(match, named, values)


def _checked(
    match: re.Match[bytes], named: list[tuple[bytes, bytes, bytes]], values: dict[bytes, list[bytes]]
) -> Head:
    new = match[3] == b"1"
    hosts = values.get(b"host", [])
    if len(hosts) > 1 or (new and not hosts) or any(_HOST.fullmatch(host) is None for host in hosts):
        raise BreaksARule("Host")
    length = _one_length(values.get(b"content-length", []))
    codings = [value.lower() for value in values.get(b"transfer-encoding", [])]
    if codings and (codings != [b"chunked"] or not new or length is not None):
        raise BreaksARule("Transfer-Encoding")
    if any(value.lower() != b"100-continue" for value in values.get(b"expect", [])):
        raise BreaksARule("Expect")
    options = _options(values.get(b"connection", []), alias=True)
    kept = b"".join(b"%b: %b\r\n" % (name, value) for low, name, value in named if _goes_on(low, options))
    host = hosts[0] if hosts else b""
    keep_alive = b"close" not in options and (new or b"keep-alive" in options)
    target = _origin_form(match[2], host)
    opening = _opening(match[1], values, options, bool(length or codings)) if new else None
    secrets = tuple(values.get(b"x-api-key", []))
    return Head(match[1], target, host, kept, length, bool(codings), keep_alive, opening, secrets)


def _opening(method: bytes, values: dict[bytes, list[bytes]], options: set[bytes], has_body: bool) -> bytes | None:
    if _protocols(values) != b"websocket" or b"upgrade" not in options:
        return None
    keys, versions = values.get(b"sec-websocket-key", []), values.get(b"sec-websocket-version", [])
    right = method == b"GET" and not has_body and not values.get(b"expect") and versions == [b"13"]
    if not right or len(keys) != 1 or options & {b"sec-websocket-key", b"sec-websocket-version"}:
        return b""
    return keys[0] if _SOCKET_KEY.fullmatch(keys[0]) else b""


def _protocols(values: dict[bytes, list[bytes]]) -> bytes:
    """Upgrade's lines as one; empty elements at its ends say nothing (RFC 9110 §5.6.1)."""
    return b", ".join(values.get(b"upgrade", [])).lower().strip(b", \t")


def _asks(head: Head, bounds: Bounds) -> bool:
    """Whether it asks for a WebSocket where one is served: nothing behind it is read as a request, come what may."""
    path, _, query = head.target.partition(b"?")
    there = path.count(b"/") == 1 and unquote_to_bytes(path[1:]) == b"ws" and b"#" not in query
    return head.opening is not None and there and bool(bounds.secret) and head.secrets == (bounds.secret,)


def _goes_on(name: bytes, named_by_connection: set[bytes]) -> bool:
    if name in HOP_BY_HOP or name in _IDENTITY or name in _OWN or name in named_by_connection - {b"keep-alive"}:
        return False
    return not name.startswith((b"x-keystile-", b"x-forwarded-"))


def _origin_form(target: bytes, host: bytes) -> bytes:
    if target.startswith(b"/"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None or match[1].lower() != host.lower():
        raise BreaksARule("the target's form")
    return match[2] or b"/"


def read_chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The body bytes of a chunked body, and what comes behind it: None where its end has not come."""
    body, extensions, trailers = b"", 0, 0
    while True:
        line, data = _line(data, 256)
        if line is None:
            return body, None
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BreaksARule("a chunk's size")
        extensions += len(match[2] or b"")
        if extensions > 16 * 1024:
            raise BreaksARule("extensions")
        size = int(match[1], 16)
        if not size:
            break
        body += data[:size]
        if len(data) < size or not data[size:]:
            return body, None
        end, data = data[size : size + 2], data[size + 2 :]
        if not b"\r\n".startswith(end):
            raise BreaksARule("a chunk's end")
        if end == b"\r":
            return body, None
    while True:
        line, data = _line(data, 8 * 1024)
        if line is None:
            return body, None
        if not line:
            return body, data
        trailers += len(line)
        if _FIELD.fullmatch(line) is None or trailers > 8 * 1024:
            raise BreaksARule("a trailer")


def _line(data: bytes, bound: int) -> tuple[bytes | None, bytes]:
    line, end, rest = data.partition(b"\r\n")
    if len(line) - (not end and line.endswith(b"\r")) > bound or (not end and b"\n" in line):
        raise BreaksARule("a line that cannot end well")
    return (line if end else None), rest


def read_body(head: Head, data: bytes, bounds: Bounds) -> tuple[bytes, bytes | None]:
    """As ``read_chunks``, for a body of whatever framing."""
    if not head.chunked:
        length = head.length or 0
        if length > bounds.body:
            raise BreaksARule("a body too large")
        return data[:length], data[length:] if len(data) >= length else None
    body, rest = read_chunks(data)
    if len(body) > bounds.body:
        raise BreaksARule("a body too large")
    return body, rest


def _begun(data: bytes) -> bytes:
    word, space, _ = data.partition(b" ")
    return word if space and re.fullmatch(rb"[A-Z][A-Z-]{0,23}", word) else b""


def read_requests(data: bytes, bounds: Bounds) -> Stream:
    """Every request in ``data``, all of which one client has sent on one connection."""
    found: list[tuple[Head, bytes]] = []
    while True:
        if data.startswith(b"\r\n") and not data.startswith(b"\r\n\r\n"):
            data = data[2:]  # RFC 9112, 2.2
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return Stream(tuple(found), None, "refused" if len(data) > bounds.head else "open", _begun(data))
        try:
            head = read_head(data[:end], bounds)
        except BreaksARule:
            return Stream(tuple(found), None, "refused", _begun(data))
        try:
            body, rest = read_body(head, data[end:], bounds)
        except BreaksARule:
            return Stream(tuple(found), head, "refused")
        if rest is None:
            return Stream(tuple(found), head, "open")
        found.append((head, body))
        data = rest
        if _asks(head, bounds):
            return Stream(tuple(found), None, "asked", behind=data)
        if not head.keep_alive:
            return Stream(tuple(found), None, "closed")


def read_switch(data: bytes, proof: bytes) -> bytes | None:
    """What a server has sent behind its 101, of which ``proof`` is the one right proof; None where there is none."""
    for _ in range(17):
        block, end, data = data.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = block.split(b"\r\n")
        try:
            head, fields = _answer_head(block + end, to_head=False), _fields(lines)
        except BreaksARule:
            return None
        if head.status == 101:
            return data if first.startswith(b"HTTP/1.1") and _grants(fields, proof) else None
        if head.status >= 200:
            return None
    return None


def _grants(fields: list[tuple[bytes, bytes]], proof: bytes) -> bool:
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        said.setdefault(name.lower(), []).append(value)
    options = _options(said.get(b"connection", []), alias=False)
    proofs = said.get(b"sec-websocket-accept") if b"sec-websocket-accept" not in options else None
    return b"upgrade" in options and _protocols(said) == b"websocket" and proofs == [proof]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server has sent: ``ending`` is "whole" once the body is complete; ``lines`` are those that go on."""

    interims: tuple[int, ...]
    status: int | None
    lines: tuple[bytes, ...]
    body: bytes
    ending: Literal["open", "refused", "whole"]
    reusable: bool


@dataclass(frozen=True, slots=True)
class _AnswerHead:
    status: int
    lines: tuple[bytes, ...]
    length: int | None  # None: until the connection ends
    chunked: bool
    reusable: bool


def read_answer(data: bytes, *, to_head: bool, ended: bool) -> Answered:
    """The answer in ``data``; ``ended``: the server has closed its connection behind it."""
    interims: list[int] = []
    while True:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > 64 * 1024:
            begins = data[:7] == b"HTTP/1."[: len(data)]
            good = end < 4 and len(data) <= 64 * 1024 and begins and not ended
            return Answered(tuple(interims), None, (), b"", "open" if good else "refused", False)
        try:
            head = _answer_head(data[:end], to_head)
            if head.status == 101 or (head.status < 200 and len(interims) == 16):
                raise BreaksARule("interim answers")
        except BreaksARule:
            return Answered(tuple(interims), None, (), b"", "refused", False)
        data = data[end:]
        if head.status >= 200:
            return _answer_body(tuple(interims), head, data, ended)
        interims.append(head.status)


def _answer_head(block: bytes, to_head: bool) -> _AnswerHead:
    first, *lines = block[:-4].split(b"\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise BreaksARule("the status line")
    fields = [(name.lower(), value) for name, value in _fields(lines)]
    length = _one_length([value for name, value in fields if name == b"content-length"])
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    new, status = match[1] == b"1", int(match[2])
    if codings and (codings != [b"chunked"] or not new or length is not None):
        raise BreaksARule("Transfer-Encoding")
    options = _options([value for name, value in fields if name == b"connection"], alias=False)
    left_out = HOP_BY_HOP | {b"content-length"} | (options - {b"keep-alive"})
    kept = tuple(line for line, (name, _) in zip(lines, fields, strict=True) if name not in left_out)
    reusable = new and b"close" not in options
    if to_head or status < 200 or status in (204, 304):
        return _AnswerHead(status, kept, 0, False, reusable)
    return _AnswerHead(status, kept, length, bool(codings), reusable and (length is not None or bool(codings)))


def _answer_body(interims: tuple[int, ...], head: _AnswerHead, data: bytes, ended: bool) -> Answered:
    def answered(body: bytes, ending: Literal["open", "refused", "whole"], clean: bool = False) -> Answered:
        return Answered(interims, head.status, head.lines, body, ending, clean and head.reusable)

    if head.chunked:
        try:
            body, rest = read_chunks(data)
        except BreaksARule:
            return answered(b"", "refused")
        if rest is None:
            return answered(body, "refused" if ended else "open")
        return answered(body, "whole", not rest)
    if head.length is None:
        return answered(data, "whole" if ended else "open")
    if len(data) < head.length:
        return answered(data, "refused" if ended else "open")
    return answered(data[: head.length], "whole", len(data) == head.length)
