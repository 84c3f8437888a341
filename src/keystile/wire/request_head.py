"""A request's head, read once and strictly (RFC 9112 §2–§6, RFC 9110 §7).

Law: what the bytes say, and which lines may be passed on; not whether the
request may pass. httptools (llhttp, strict) reads the fields; the request line
and everything where llhttp is lenient or has no opinion is checked here. No
line is copied that was not parsed, and nothing is repaired.

Hot path: values stay ``bytes``. A ``RequestFields`` depends on nothing but the
bytes behind ``HTTP/1.``, so a connection whose next head repeats them uses the
same object again. What a name means is looked up by its raw spelling: most
fields cost one look-up and one copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import httptools

from keystile.wire.faults import Fault, WireError
from keystile.wire.grammar import ABSOLUTE_FORM, HOP_BY_HOP, HOST
from keystile.wire.trace_context import BOTH, TRACEPARENT, TRACESTATE, TraceContext, trace_context

#: Fields by which clients and proxies say who is calling: believed from trusted proxies only.
IDENTITY_FIELDS: Final = frozenset({b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"})

#: Fields whose reading decides where a message ends or for whom it is: an alias with ``_`` is refused.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"})

#: Spellings of names that are remembered. Clients use few; whoever invents many gains nothing and costs no memory.
_REMEMBERED_NAMES: Final = 2048


class RequestFields:
    """What the fields of one request head say.

    ``kept``: the lines to pass on, each ended with CRLF; ``host``: the Host value or empty (HTTP/1.0 only);
    ``content_length``: its value, or -1 without one; ``chunked``: a chunked body follows; ``keep_alive``: the
    connection may be used again; ``trace``: to which the request says it belongs, if it does; ``withheld``: name and
    value of each field that the owner of the connection asked to have kept from the upstream; ``note``: a place for
    what that owner derives from this object.
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


#: What is done with a field: a rule (True: and pass it on), or ``None`` for "leave it out".
Rule = Callable[[RequestFields, bytes, bytes], bool]


class RequestHeadReader:
    """Reads the fields of request heads; one for all connections of a process.

    ``withheld``: names of fields that are handed over rather than passed on; ``believes_forwarded``: trusted
    proxies say in Forwarded who is calling, rather than in X-Forwarded-*. Only one of the two is ever read: a
    proxy writes one, and passes the other on as its client sent it. ``trace``: traceparent and tracestate are passed
    on where they are valid (``pass``), handed over instead (``begin``), or fields like any other (``off``).
    """

    def __init__(
        self,
        *,
        withheld: Iterable[str] = (),
        max_fields: int = 100,
        believes_forwarded: bool = False,
        trace: Literal["pass", "begin", "off"] = "off",
    ) -> None:
        self._withheld = frozenset(name.lower().encode("ascii") for name in withheld)
        self._believed = _FORWARDED_RULES if believes_forwarded else _X_FORWARDED_RULES
        self._more = _TRACE_RULES if trace != "off" else {}
        self._hands_traces_over = trace == "begin"
        self._max_fields = max_fields
        self._rules: tuple[dict[bytes, Rule | None], dict[bytes, Rule | None]] = ({}, {})

    def read(self, block: bytes, *, trusted: bool = False) -> RequestFields:
        """The fields in ``block``: the minor version's digit, CRLF, field lines, an empty line.

        ``trusted``: the peer is a proxy whose words about its client are believed. Raises ``WireError``.
        """
        pairs = self._parse(block)
        fields = RequestFields(block[0] - 0x30)
        rules = self._rules[trusted]
        kept: list[bytes] = []
        for name, value in pairs:
            try:
                rule = rules[name]
            except KeyError:
                rule = self._learn(rules, name, trusted)
            if rule is None or rule(fields, name, value):
                kept += (name, b": ", value.rstrip(b" \t"), b"\r\n")
        if (fields.named or fields.traced) and (unwanted := fields.named | self._read_trace(fields)):
            kept = _without(kept, unwanted)
        fields.kept = b"".join(kept)
        _check_framing(fields)
        return fields

    def _read_trace(self, fields: RequestFields) -> frozenset[bytes]:
        """Which of the two fields are not passed on. What Connection names is not meant for the API."""
        if not fields.traced:
            return frozenset()
        traced = fields.traced
        if fields.named:
            traced = tuple(line for line in traced if line[0] not in fields.named)
        fields.trace = trace_context(traced)
        return frozenset() if fields.trace.traceparent and not self._hands_traces_over else BOTH

    def _parse(self, block: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The fields in order. A name that is sent once, as most are, costs no call into Python."""
        once: dict[bytes, bytes] = {}
        _feed(block, once.setdefault)
        lines = block.count(b"\r\n") - 2
        if lines > self._max_fields:
            raise WireError(Fault.HEAD_TOO_LARGE, f"The head has more than {self._max_fields} fields.")
        if len(once) == lines:
            return once.items()
        pairs: list[tuple[bytes, bytes]] = []
        _feed(block, lambda name, value: pairs.append((name, value)))
        return pairs

    def _learn(self, rules: dict[bytes, Rule | None], name: bytes, trusted: bool) -> Rule | None:
        rule = _rule_of(name, self._withheld, self._believed if trusted else None, self._more)
        if len(rules) >= _REMEMBERED_NAMES:
            rules.clear()
        rules[name] = rule
        return rule


class _Collector:
    """What httptools calls with each field's name and value."""

    __slots__ = ("on_header",)

    def __init__(self, on_header: Callable[[bytes, bytes], object]) -> None:
        self.on_header = on_header


def _feed(block: bytes, on_header: Callable[[bytes, bytes], object]) -> None:
    try:
        # The request line has been read already; llhttp only needs one in front of the fields.
        httptools.HttpRequestParser(_Collector(on_header)).feed_data(b"GET / HTTP/1." + block)
    except httptools.HttpParserUpgrade:
        pass  # llhttp would stop parsing here; what becomes of Upgrade is decided by the route.
    except httptools.HttpParserError as error:
        raise _explained(error) from None


def _explained(error: Exception) -> WireError:
    """llhttp's reason, which names a rule and never repeats what was sent."""
    text = str(error)
    framing = "Content-Length" in text or "Transfer-Encoding" in text
    return WireError(Fault.BAD_FRAMING if framing else Fault.MALFORMED, f"The request head is not well-formed: {text}.")


def _without(kept: list[bytes], named: frozenset[bytes]) -> list[bytes]:
    """The lines in ``kept`` (four pieces each) but for those that Connection names (RFC 9110 §7.6.1)."""
    left: list[bytes] = []
    for i in range(0, len(kept), 4):
        if kept[i].lower().replace(b"_", b"-") not in named:
            left += kept[i : i + 4]
    return left


def _rule_of(
    name: bytes, withheld: frozenset[bytes], believed: Mapping[bytes, Rule] | None, more: Mapping[bytes, Rule]
) -> Rule | None:
    """What is done with fields of this name; None: they are passed on. ``believed``: None, or from a trusted proxy."""
    lowered = name.lower()
    if 0x5F in lowered:  # the underscore; as a number it is found faster
        lowered = lowered.replace(b"_", b"-")
        if lowered in _FRAMING:
            return _refuse_alias
    if lowered in withheld:
        return _withhold
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


def _withhold(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.withheld += ((name.lower().replace(b"_", b"-"), value.strip(b" \t")),)
    return False


def _leave_out(fields: RequestFields, name: bytes, value: bytes) -> bool:
    return False


def _host(fields: RequestFields, name: bytes, value: bytes) -> bool:
    value = value.strip(b" \t")
    if fields.host:
        raise WireError(Fault.BAD_HOST, "The request has more than one Host field.")
    if HOST.fullmatch(value) is None:
        raise WireError(Fault.BAD_HOST, "The Host field is not well-formed.")
    fields.host = value
    return False


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


def _check_framing(fields: RequestFields) -> None:
    if fields.chunked and fields.content_length >= 0:
        raise WireError(Fault.BAD_FRAMING, "A request has Content-Length or Transfer-Encoding, never both.")
    if not fields.host and fields.minor_version == 1:
        raise WireError(Fault.BAD_HOST, "The request has no Host field.")


def _connection(fields: RequestFields, name: bytes, value: bytes) -> bool:
    options = frozenset(option.strip(b" \t").replace(b"_", b"-") for option in value.lower().split(b","))
    fields.named |= options - {b"keep-alive", b"close"}
    if b"close" in options:
        fields.keep_alive = False
        fields.named |= {b"close"}
    elif b"keep-alive" in options and fields.minor_version == 0 and b"close" not in fields.named:
        fields.keep_alive = True
    return False


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
    if HOST.fullmatch(value.strip(b" \t")) is not None:
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


def _traced(fields: RequestFields, name: bytes, value: bytes) -> bool:
    fields.traced += ((name.lower(), value),)
    return True


_TRACE_RULES: Final[dict[bytes, Rule]] = {TRACEPARENT: _traced, TRACESTATE: _traced}
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
_X_FORWARDED_RULES: Final[dict[bytes, Rule]] = {
    b"x-forwarded-for": _forwarded_for,
    b"x-forwarded-host": _forwarded_host,
    b"x-forwarded-proto": _forwarded_proto,
    b"x-request-id": _request_id,
}
#: … or these.
_FORWARDED_RULES: Final[dict[bytes, Rule]] = {b"forwarded": _forwarded, b"x-request-id": _request_id}
#: What they say is told anew in X-Forwarded-*, so upstreams never see two stories.
_RETOLD: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})


def origin_form(target: bytes, host: bytes) -> bytes:
    """``target`` as path and query (RFC 9112 §3.2).

    Absolute form is accepted where its authority is the Host field's. Raises ``WireError`` (``BAD_TARGET``)
    for the authority and asterisk forms, which name nothing that a route could serve.
    """
    if target.startswith(b"/"):
        return target
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise WireError(Fault.BAD_TARGET, "The request target must be a path.")
    if absolute[1].lower() != host.lower():
        raise WireError(Fault.BAD_TARGET, "The request target names another host than the Host field.")
    return absolute[2] or b"/"
