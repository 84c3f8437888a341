"""An access log line: the members that the settings name, as one expression that is made once a configuration.

Law: an exchange that has ended in, one line of JSON out. A line holds no secret: a well-formed key in a path or a
query is redacted, and of the query only what ``log_query.py`` lets by.

Hot path: the line is one ``bytes % (…)`` over values that are read where they stand, which takes as long as if it had
been written down by hand; a function for each member takes twice as long (5.0 against 2.8 µs, Python 3.11). So the
expression is put together from the rows below and compiled, as ``dataclasses`` does it. Only these rows go in: a text
of the settings chooses among them and is never part of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from keystile.config.model import AccessLog, KeyPolicy
from keystile.keys.keyring import HeldKey
from keystile.keys.secret import SECRET_LENGTH, redact
from keystile.relay.entrance import Entrance
from keystile.relay.log_query import Redaction
from keystile.relay.refusal import Refusal
from keystile.routing.route import Route

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange

LineMaker = Callable[["Exchange"], bytes]

#: Keys whose texts are remembered at once; then all are forgotten.
REMEMBERED_KEYS: Final = 4096
NULL: Final = b"null"
# Numbers: bytes look for bytes in them by way of an exception, which takes ten times as long.
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
#: How each member is written, and the expression that it comes from; ``x`` is the exchange, ``peer`` its caller.
MEMBERS: Final[Mapping[str, tuple[str, str]]] = {
    "time": ('"%b"', "now()"),
    "request_id": ('"%b"', "x.request_id"),
    "trace_id": ("%b", "quoted(x.trace_id())"),
    "span_id": ("%b", "quoted(x.span_id())"),
    "parent_id": ("%b", "quoted(x.parent_span_id())"),
    "listener": ("%b", "listener(x)"),
    "address": ('"%b"', "peer.name"),
    "socket": ('"%b"', "peer.socket_name"),
    "tls": ("%b", "null if peer.tls is None else quoted(peer.tls.encode('ascii'))"),
    "cipher": ("%b", "cipher(x)"),
    "method": ('"%b"', "x.method"),
    "path": ("%b", "path(x.path)"),
    "query": ("%b", "query(x.target)"),
    "route": ("%b", "null if x.route is None else x.route.note or route(x.route)"),
    "status": ("%d", "x.status"),
    "refusal": ("%b", "null if x.refusal is None else refusals[x.refusal]"),
    "account": ("%b", "account(x.key)"),
    "key": ("%b", "key(x.key)"),
    "upstream": ("%b", "null if x.group is None else x.group.quoted_name"),
    "server": ("%b", "null if x.served_by is None else x.served_by.pool.quoted_name"),
    "server_address": ("%b", "null if x.served_by is None else text(x.served_by.address)"),
    "retries": ("%d", "0 if x.search is None else x.search.sent"),
    "bytes_in": ("%d", "x.bytes_in"),
    "bytes_out": ("%d", "x.bytes_out"),
    "milliseconds": ("%d", "(x.ended_at - x.began) * 1000"),
    "microseconds": (
        '{"own":%d,"waited":%b,"server":%d,"answer":%d}',
        # What never came, came at the end: so the parts add up to all the time there was, however an exchange ends.
        # Whole numbers, and few: a fraction takes half as long again, and most requests do not wait.
        "((sent := x.forwarded_at or x.ended_at) - x.began - x.waited) * 1e6, b'%d' % (x.waited * 1e6) if x.waited "
        "else zero, ((heard := x.heard_at or x.ended_at) - sent) * 1e6, (x.ended_at - heard) * 1e6",
    ),
    "cut": ("%b", "true if x.cut else false"),
    "configuration": ("%d", "x.configuration"),
}
#: Members that are found at once where they stand side by side, as they mostly do.
_PAIRS: Final = {("account", "key"): ('"account":%b', "account_and_key(x.key)")}


def line_maker(log: AccessLog, keys: KeyPolicy) -> LineMaker:
    """What makes the lines of these settings."""
    carriers = [*keys.headers, *([keys.query_parameter] if keys.query_parameter else [])]
    redaction = Redaction(log.redact, carriers)
    known = KnownKeys()

    def query(target: bytes) -> bytes:
        _, mark, said = target.partition(b"?")
        return json.dumps(redaction.of(said)).encode("ascii") if mark else NULL

    return compiled(
        log.fields,
        {
            "now": Clock().now,
            "query": query,
            "account_and_key": known.both,
            "account": known.account,
            "key": known.key,
            **_FUNCTIONS,
        },
    )


def compiled(names: Sequence[str], use: Mapping[str, object]) -> LineMaker:
    """One function for these members; ``use``: what their expressions call."""
    written: list[str] = []
    expressions: list[str] = []
    for at, name in enumerate(names):
        if at and (names[at - 1], name) in _PAIRS:
            written[-1], expressions[-1] = _PAIRS[names[at - 1], name]
        else:
            form, expression = MEMBERS[name]
            written.append(f'"{name}":{form}')
            expressions.append(expression)
    template = f"{{{','.join(written)}}}\n".encode("ascii")
    scope: dict[str, Any] = {**use, "template": template}
    source = f"def line(x):\n    peer = x.note.peer\n    return template % ({', '.join(expressions)},)\n"
    exec(compile(source, "<access log line>", "exec"), scope)
    made: LineMaker = scope["line"]
    return made


class Clock:
    """UTC in RFC 3339 with milliseconds; the second's text is made once a second. ``wall``: gives Unix seconds."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._second = -1
        self._template = b""

    def now(self) -> bytes:
        """The moment, as text."""
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._template = time.strftime("%Y-%m-%dT%H:%M:%S.%%03dZ", time.gmtime(second)).encode("ascii")
        return self._template % ((now - second) * 1000)


class KnownKeys:
    """Whose key it was, as JSON; remembered for the keys in use."""

    def __init__(self) -> None:
        self._texts: dict[HeldKey | None, tuple[bytes, bytes, bytes]] = {}

    def both(self, key: HeldKey | None) -> bytes:
        """The account, and the member that says which key of it."""
        return (self._texts.get(key) or self._learn(key))[0]

    def account(self, key: HeldKey | None) -> bytes:
        """The account."""
        return (self._texts.get(key) or self._learn(key))[1]

    def key(self, key: HeldKey | None) -> bytes:
        """The key's id."""
        return (self._texts.get(key) or self._learn(key))[2]

    def _learn(self, key: HeldKey | None) -> tuple[bytes, bytes, bytes]:
        if len(self._texts) >= REMEMBERED_KEYS:
            self._texts.clear()
        account, which = (NULL, NULL) if key is None else (text(key.account), text(key.id))
        texts = self._texts[key] = (b'%b,"key":%b' % (account, which), account, which)
        return texts


def text(value: str) -> bytes:
    """As JSON."""
    return json.dumps(value).encode("ascii")


def quoted(value: bytes) -> bytes:
    """Letters, digits and the like as JSON; nothing is null."""
    return b'"%b"' % value if value else NULL


def path_text(path: bytes) -> bytes:
    """The path as a JSON string; the grammar leaves it visible ASCII. A key in it is redacted."""
    if len(path) < SECRET_LENGTH and _QUOTE not in path and _BACKSLASH not in path:
        return b'"%b"' % path
    return text(without_keys(path.decode("ascii", "backslashreplace")))


def without_keys(said: str) -> str:
    """``said`` without keys; where one is percent-encoded, even twice, the decoded text without it."""
    decoded = unquote(unquote(said, "latin-1"), "latin-1") if "%" in said else said
    told = redact(decoded)
    return told if told != decoded else redact(said)


def route_text(route: Route) -> bytes:
    """The route's template as JSON; worked out once a route."""
    said = text(route.path)
    route.note = said
    return said


def _listener(exchange: Exchange) -> bytes:
    entrance = exchange.client.entrance
    assert type(entrance) is Entrance
    return quoted(entrance.address)


def _cipher(exchange: Exchange) -> bytes:
    secured = exchange.client.transport.get_extra_info("ssl_object")
    agreed = None if secured is None else secured.cipher()
    return NULL if agreed is None else text(agreed[0])


_FUNCTIONS: Final[Mapping[str, object]] = {
    "null": NULL,
    "zero": b"0",
    "true": b"true",
    "false": b"false",
    "refusals": {each: text(each.slug) for each in Refusal},
    "text": text,
    "quoted": quoted,
    "path": path_text,
    "route": route_text,
    "listener": _listener,
    "cipher": _cipher,
}
