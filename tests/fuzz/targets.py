"""What is fuzzed: each target takes bytes, hands them over in pieces, and asserts that the rules were kept.

Law: a target raises ``AssertionError`` (or whatever the code under test raised) for a finding and says nothing
otherwise. Everything it needs is made once; nothing depends on what was fed before. The first byte of an input says
how the rest is cut into pieces, so that a fuzzer may change either.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

from keystile.limits.deadlines import NEVER
from keystile.wire.client import LINGER
from keystile.wire.faults import Fault, WireError
from keystile.wire.forwarded import told_by
from keystile.wire.framing import ChunkedReader
from keystile.wire.peer import Address, Trusted, client_behind
from keystile.wire.proxy_protocol import BadProxyHeader, ProxyHeader, read_proxy_header
from keystile.wire.request_head import RequestHeadReader
from tests.fuzz import reference
from tests.fuzz.paths import path_rules, seed_paths
from tests.fuzz.reference import Bounds, BreaksARule
from tests.fuzz.scripts import play, scripts, socket_scripts
from tests.wire.caller_attacks import CALLERS
from tests.wire.client_attacks import ATTACKS
from tests.wire.proxy_headers import RIGHT, WRONG
from tests.wire.transports import KeepingApplication, carried, connected
from tests.wire.upstream_attacks import MISANSWERS

Target = Callable[[bytes], None]
SECRET = b"0" * 96
BOUNDS = Bounds()

_PROXY, _STRANGER = ip_address("127.0.0.1"), ip_address("198.51.100.7")
_TRUSTED = Trusted([ip_network("127.0.0.0/8")])
_READER = RequestHeadReader(withheld=["X-Api-Key"], max_fields=BOUNDS.fields)
_SOCKETS = socket.socketpair()  # an upstream connection asks its socket whether something lies in it: nothing does


def in_pieces(how: int, data: bytes) -> Iterator[bytes]:
    """``data`` whole (0), or cut into pieces of ``how`` bytes, of which the first is shorter where ``how`` is odd."""
    if not how:
        yield data
        return
    start = how // 2 if how % 2 and how > 1 else 0
    if start and data:
        yield data[:start]
    for position in range(start, len(data), how):
        yield data[position : position + how]


def request_head(data: bytes) -> None:
    """Fields, behind a request line that is right: ``RequestHeadReader`` against the slow reading of the same."""
    block = (b"1\r\n" + data + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if data[:1] == b"0":
        block = b"0\r\n" + block[3:]
    try:
        expected = reference.read_head(b"GET / HTTP/1." + block, Bounds(BOUNDS.fields, 1 << 30))
    except BreaksARule:
        expected = None
    try:
        fields = _READER.read(block)
    except WireError:
        assert expected is None, "a head that keeps every rule was refused"
        return
    assert expected is not None, "a head that breaks a rule was accepted"
    assert fields.kept == expected.kept
    assert (fields.host, fields.keep_alive) == (expected.host, expected.keep_alive)
    length = -1 if expected.length is None else expected.length
    assert (fields.content_length, fields.chunked) == (length, expected.chunked)


def chunks(data: bytes) -> None:
    """A chunked body, in pieces."""
    how, data = data[:1], data[1:]
    try:
        body, rest = reference.read_chunks(data)
    except BreaksARule:
        body, rest = b"", None
        broken = True
    else:
        broken = False
    reader, read, fed = ChunkedReader(), b"", 0
    fault: Fault | None = None
    try:
        for piece in in_pieces(how[0] if how else 0, data):
            fed += len(piece)
            read += reader.feed(piece)
            if reader.done:
                break
    except WireError as error:
        fault = error.fault
    if fault is not None:
        assert broken, "a body that keeps every rule was refused"
        assert fault is Fault.BAD_FRAMING
        return
    assert not broken, "a body that breaks a rule was accepted"
    assert read == body
    assert (reader.rest + data[fed:] if reader.done else None) == rest


def client(data: bytes) -> None:
    """A client's connection: any bytes, in any pieces; each request is answered as soon as it is whole."""
    how, data = data[:1], data[1:].replace(b"<key>", SECRET)
    expected = reference.read_requests(data, BOUNDS)
    application = KeepingApplication(max_head_size=BOUNDS.head)
    connection, transport = connected(application)
    for piece in in_pieces(how[0] if how else 0, data):
        if transport.ended or connection.state == LINGER:
            break
        assert transport.reading
        connection.data_received(piece)
    got = application.requests
    assert [(line, body) for line, _, body in got] == [
        (head.method + b" " + head.target, body) for head, body in expected.requests
    ]
    for (_, kept, _), (head, _) in zip(got, expected.requests, strict=True):
        framing = b"chunked" if head.chunked else b"%d" % (-1 if head.length is None else head.length)
        assert kept == head.kept + framing + b" " + head.host
    answers = transport.sent.count(b"HTTP/1.1 ")
    assert answers == len(got) + application.refusals
    if expected.ending != "open":
        assert application.refusals == (expected.ending == "refused")
        assert transport.ended or connection.state == LINGER, "what follows would be read"
    else:
        # What cannot become a request any more may be refused before its end has come.
        assert application.refusals == 0 or expected.begun is None
    assert connection.due != NEVER or transport.ended, "nothing would ever end this connection"


def answer(data: bytes) -> None:
    """A server's answer, in pieces: the first bits say to which method, and whether the server ends behind it."""
    first, how, data = data[:1], data[1:2], data[2:]
    bits = first[0] if first else 0
    to_head, ends = bool(bits & 1), bool(bits & 2)
    connection, transport, taken, pool = carried(_SOCKETS[0], b"HEAD" if to_head else b"GET")
    expected = reference.read_answer(data, to_head=to_head, ended=ends)
    for piece in in_pieces(how[0] if how else 0, data):
        connection.data_received(piece)
        if transport.ended:
            break
    if ends and not transport.ended:
        connection.eof_received()
        transport.close()
        connection.connection_lost(None)
    _compare_answer(expected, taken.outcome, taken.interims, taken.received)
    if expected.ending == "whole":
        assert taken.head is not None
        assert taken.head.status == expected.status
        lines = taken.head.start.split(b"\r\n")
        assert tuple(lines[1:-1]) == expected.lines
        # In pieces the connection is given back before what comes too much; that then ends it.
        whole = not (how and how[0])
        assert bool(pool.given_back) is expected.reusable or not whole
    assert not (transport.ended == "" and not expected.reusable and expected.ending != "open")


def _compare_answer(expected: reference.Answered, outcome: str, interims: list[int], received: bytes) -> None:
    if expected.ending == "refused":
        assert outcome == "broken", "an answer that breaks a rule was passed on whole"
        return
    if outcome == "broken":
        assert expected.ending == "open", "an answer that keeps every rule was refused"
        assert expected.status is None, "a body was refused that could still have become right"
        return
    assert outcome == ("whole" if expected.ending == "whole" else "open")
    assert tuple(interims) == expected.interims
    assert received == expected.body


def proxy_header(data: bytes) -> None:
    """A PROXY protocol header: the same however it is cut, ended where it says, and never judged twice."""
    before: ProxyHeader | None = None
    for end in range(len(data) + 1):
        try:
            now = read_proxy_header(data[:end])
        except BadProxyHeader:
            assert before is None, "a header that was whole became bad when more came"
            for further in (end + 1, len(data)):
                _is_bad(data[:further])
            return
        assert before is None or now == before, "a header became another when more came"
        if now is not None:
            assert now.size <= end, "a header is longer than what has come"
            assert read_proxy_header(data[: now.size]) == now
            assert now.source is None or getattr(now.source, "ipv4_mapped", None) is None
        before = now


def _is_bad(data: bytes) -> None:
    try:
        read_proxy_header(data)
    except BadProxyHeader:
        return
    raise AssertionError("what was bad became good when more came")


def caller(data: bytes) -> None:
    """X-Forwarded-For and Forwarded: what an untrusted hop wrote at the left end changes nothing."""
    own, _, left = data.replace(b"\r", b"").partition(b"\n")
    left = left.replace(b"\n", b"")
    for believed in (_by_list, _by_elements):
        assert believed(_STRANGER, [left, own]) == _STRANGER, "a stranger was believed"
        alone = believed(_PROXY, [own])
        assert not getattr(alone, "ipv4_mapped", None)
        if _TRUSTED.holds(alone):
            continue  # whoever stands further left may still count
        assert believed(_PROXY, [left, own]) == alone, "a line before changed who is calling"
        assert believed(_PROXY, [left + b", " + own]) == alone, "what stands before a comma changed who is calling"


def _by_list(socket_ip: Address, lines: list[bytes]) -> Address:
    return client_behind(socket_ip, lines, _TRUSTED)


def _by_elements(socket_ip: Address, lines: list[bytes]) -> Address:
    return told_by(socket_ip, lines, _TRUSTED).address


def relay(data: bytes) -> None:
    """The whole relay in memory: both sides' bytes, clogging, ends and time, in any order (see ``scripts``).

    Twice among the targets: with the attacks on either side to begin with, and with WebSockets.
    """
    play(data)


TARGETS: dict[str, Target] = {
    "request head": request_head,
    "chunks": chunks,
    "client": client,
    "answer": answer,
    "paths": path_rules,
    "proxy header": proxy_header,
    "caller": caller,
    "relay": relay,
    "sockets": relay,
}


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with, from the attack rows."""
    rows = [row.sent for row in ATTACKS if len(row.sent) < 2500]
    answers = [b"".join(row.sent) for row in MISANSWERS if sum(map(len, row.sent)) < 2500]
    match name:
        case "request head":
            return [row.partition(b"\r\n")[2] for row in rows]
        case "chunks":
            bodies = [row.partition(b"\r\n\r\n")[2] for row in (*rows, *answers) if b"hunked" in row]
            return [how + body for body in bodies for how in (b"\0", b"\1", b"\5")]
        case "client":
            return [how + row for row in rows for how in (b"\0", b"\1", b"\x0b")]
        case "answer":
            return [how + row for row in answers for how in (b"\0\0", b"\2\0", b"\1\0", b"\0\1", b"\2\7")]
        case "paths":
            return seed_paths()
        case "proxy header":
            return [header for _, header, _ in RIGHT] + [header for _, header in WRONG]
        case "caller":
            values = [row.sent.rpartition(b": ")[2].strip() for row in CALLERS]
            return [value + b"\n" + other for value in values for other in (b"6.6.6.6", b'for="')]
        case "sockets":
            return socket_scripts()
        case _:
            return scripts(rows, answers)

