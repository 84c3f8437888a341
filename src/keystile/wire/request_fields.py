"""What the fields of a request's head say, and what is done with each (RFC 9110 §7, RFC 9112 §6).

Law: one field at a time, by its name: what it says is noted, and whether its line is passed on. Which fields there are,
and what they say together, is ``request_head.py``'s. What a name means is looked up by its raw spelling, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from keystile.wire.faults import Fault, WireError
from keystile.wire.grammar import HOP_BY_HOP, HOST
from keystile.wire.trace_context import TRACEPARENT, TRACESTATE, TraceContext

#: Fields by which clients and proxies say who is calling: believed from trusted proxies only.
IDENTITY_FIELDS: Final = frozenset({b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"})

#: Fields whose reading decides where a message ends or for whom it is: an alias with ``_`` is refused.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"})

#: Of fields of which clients send few values these are remembered: how many, and how long each may be.
_REMEMBERED_VALUES: Final = 256
_REMEMBERED_LENGTH: Final = 256


#: What is done with a field; True where its line is passed on, as it is where there is no rule.
Rule = Callable[["RequestFields", bytes, bytes], bool]


class Reading:
    """How a head was read, for the next one: by which ``rules`` of names, its ``lines``, and the rule ``of`` each."""

    __slots__ = ("lines", "of", "rules")

    def __init__(self, rules: dict[bytes, Rule | None], lines: list[bytes], of: list[Rule | None]) -> None:
        self.rules = rules
        self.lines = lines
        self.of = of


class RequestFields:
    """What the fields of one request head say.

    ``kept``: the lines to pass on, each ended with CRLF; ``host``: the Host value or empty (HTTP/1.0 only);
    ``content_length``: its value, or -1 without one; ``chunked``: a chunked body follows; ``keep_alive``: the
    connection may be used again; ``trace``: to which the request says it belongs, if it does; ``withheld``: name and
    value of each field that the owner of the connection asked to have kept from the upstream; ``note``: a place for
    what that owner derives from this object, and ``presented`` for what it derives from ``withheld`` and
    ``authorization`` alone; ``reading``: how it was read, where the next head may be read by it.
    """

    __slots__ = (
        "authorization",
        "chunked",
        "content_length",
        "expects_continue",
        "forwarded",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "host",
        "keep_alive",
        "kept",
        "minor_version",
        "named",
        "note",
        "origin",
        "presented",
        "reading",
        "request_id",
        "requested_method",
        "trace",
        "traced",
        "upgrade",
        "websocket_keys",
        "websocket_versions",
        "withheld",
    )

    def __init__(self, minor_version: int) -> None:
        self.minor_version = minor_version
        self.keep_alive = minor_version == 1
        self.kept = b""
        self.host = b""
        self.content_length = -1
        self.chunked = False
        self.expects_continue = False
        self.authorization = b""
        self.origin = b""
        self.requested_method = b""
        self.request_id = b""
        self.trace: TraceContext | None = None
        self.traced: tuple[tuple[bytes, bytes], ...] = ()  # the lines that say so, until they are read together
        self.forwarded_host = b""
        self.forwarded_proto = b""
        self.forwarded_for: tuple[bytes, ...] = ()
        self.forwarded: tuple[bytes, ...] = ()
        self.upgrade = b""  # the protocols asked for; never passed on
        self.websocket_keys: tuple[bytes, ...] = ()
        self.websocket_versions: tuple[bytes, ...] = ()
        self.withheld: tuple[tuple[bytes, bytes], ...] = ()
        self.named: frozenset[bytes] = frozenset()  # by Connection: not passed on
        self.note: object | None = None
        self.presented: object | None = None
        self.reading: Reading | None = None


def rule_of(
    name: bytes, withheld: frozenset[bytes], believed: Mapping[bytes, Rule] | None, more: Mapping[bytes, Rule]
) -> Rule | None:
    """What is done with fields of this name; None: they are passed on. ``believed``: None, or from a trusted proxy."""
    lowered = name.lower()
    if 0x5F in lowered:  # the underscore; as a number it is found faster
        lowered = lowered.replace(b"_", b"-")
        if lowered in _FRAMING:
            return _refuse_alias
    if lowered in withheld:
        return _withholding(lowered)
    if lowered in _RULES:
        return _RULES[lowered]
    if lowered in more:
        return more[lowered]
    if lowered in HOP_BY_HOP or lowered.startswith(b"x-keystile-"):
        return _leave_out
    if believed is not None:
        return believed.get(lowered) or (_leave_out if lowered in _RETOLD else None)
    if lowered in IDENTITY_FIELDS or lowered.startswith(b"x-forwarded-") or lowered == b"x-request-id":
        return _leave_out
    return None


def _refuse_alias(fields: RequestFields, name: bytes, value: bytes) -> bool:
    raise WireError(Fault.MALFORMED, "A field name may not stand in for another with underscores.")


def _withholding(lowered: bytes) -> Rule:
    def withhold(fields: RequestFields, name: bytes, value: bytes) -> bool:
        fields.withheld += ((lowered, value.strip(b" \t")),)
        return False

    return withhold


def _leave_out(fields: RequestFields, name: bytes, value: bytes) -> bool:
    return False


def _host(fields: RequestFields, name: bytes, value: bytes) -> bool:
    value = value.strip(b" \t")
    if fields.host:
        raise WireError(Fault.BAD_HOST, "The request has more than one Host field.")
    if not _is_host(value):
        raise WireError(Fault.BAD_HOST, "The Host field is not well-formed.")
    fields.host = value
    return False


def _is_host(value: bytes) -> bool:
    return _is_short_host(value) if len(value) <= _REMEMBERED_LENGTH else HOST.fullmatch(value) is not None


@lru_cache(maxsize=_REMEMBERED_VALUES)
def _is_short_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None


def _content_length(fields: RequestFields, name: bytes, value: bytes) -> bool:
    value = value.strip(b" \t")
    # bytes.isdigit() knows ASCII digits only, and no sign, space or underscore.
    if fields.content_length >= 0 or not value.isdigit() or len(value) > 18:
        raise WireError(Fault.BAD_FRAMING, "Content-Length is not one plain number.")
    fields.content_length = int(value)
    return False


def _transfer_encoding(fields: RequestFields, name: bytes, value: bytes) -> bool:
    if fields.chunked or fields.minor_version == 0:
        raise WireError(Fault.BAD_FRAMING, "Transfer-Encoding is not allowed twice, nor in HTTP/1.0.")
    if value.strip(b" \t").lower() != b"chunked":
        raise WireError(Fault.UNKNOWN_CODING, "The only transfer coding served is chunked.")
    fields.chunked = True
    return False


def _connection(fields: RequestFields, name: bytes, value: bytes) -> bool:
    options = _short_options(value) if len(value) <= _REMEMBERED_LENGTH else _options(value)
    fields.named |= options - {b"keep-alive", b"close"}
    if b"close" in options:
        fields.keep_alive = False
        fields.named |= {b"close"}
    elif b"keep-alive" in options and fields.minor_version == 0 and b"close" not in fields.named:
        fields.keep_alive = True
    return False


def _options(value: bytes) -> frozenset[bytes]:
    return frozenset([option.strip(b" \t").replace(b"_", b"-") for option in value.lower().split(b",")])


_short_options: Final = lru_cache(maxsize=_REMEMBERED_VALUES)(_options)


def _expect(fields: RequestFields, name: bytes, value: bytes) -> bool:
    if value.strip(b" \t").lower() != b"100-continue":
        raise WireError(Fault.UNKNOWN_EXPECTATION, "The only expectation served is 100-continue.")
    # RFC 9110 §10.1.1: from an HTTP/1.0 client it is ignored.
    fields.expects_continue = fields.minor_version == 1
    return False


def _authorization(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.authorization = value
    return True


def _origin(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.origin = value.strip(b" \t")
    return True


def _requested_method(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.requested_method = value.strip(b" \t")
    return True


def _upgrade(fields: RequestFields, name: bytes, value: bytes) -> bool:
    value = value.strip(b" \t")
    fields.upgrade += b", " + value if fields.upgrade else value
    return False


def _websocket_key(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.websocket_keys += (value.strip(b" \t"),)
    return True


def _websocket_version(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.websocket_versions += (value.strip(b" \t"),)
    return True


def _forwarded(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.forwarded += (value,)
    return False


def _forwarded_for(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.forwarded_for += (value,)
    return False


def _forwarded_host(fields: RequestFields, name: bytes, value: bytes) -> bool:
    if _is_host(value.strip(b" \t")):
        fields.forwarded_host = value.strip(b" \t")
    return False


def _forwarded_proto(fields: RequestFields, name: bytes, value: bytes) -> bool:
    if value.strip(b" \t").lower() in (b"http", b"https"):
        fields.forwarded_proto = value.strip(b" \t").lower()
    return False


def _request_id(fields: RequestFields, name: bytes, value: bytes) -> bool:
    value = value.strip(b" \t")
    if 0 < len(value) <= 128 and value.replace(b"-", b"").isalnum():
        fields.request_id = value
    return False


def _traceparent(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.traced += ((TRACEPARENT, value),)
    return True


def _tracestate(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.traced += ((TRACESTATE, value),)
    return True


TRACE_RULES: Final[dict[bytes, Rule]] = {TRACEPARENT: _traceparent, TRACESTATE: _tracestate}
_RULES: Final[dict[bytes, Rule]] = {
    b"host": _host,
    b"content-length": _content_length,
    b"transfer-encoding": _transfer_encoding,
    b"connection": _connection,
    b"expect": _expect,
    b"authorization": _authorization,
    b"origin": _origin,
    b"access-control-request-method": _requested_method,
    b"upgrade": _upgrade,
    b"sec-websocket-key": _websocket_key,
    b"sec-websocket-version": _websocket_version,
}
#: Fields that are read when a trusted proxy sends them: either these …
X_FORWARDED_RULES: Final[dict[bytes, Rule]] = {
    b"x-forwarded-for": _forwarded_for,
    b"x-forwarded-host": _forwarded_host,
    b"x-forwarded-proto": _forwarded_proto,
    b"x-request-id": _request_id,
}
#: … or these.
FORWARDED_RULES: Final[dict[bytes, Rule]] = {b"forwarded": _forwarded, b"x-request-id": _request_id}
#: What they say is told anew in X-Forwarded-*, so upstreams never see two stories.
_RETOLD: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
