"""One request and its answer, from the first byte in to the last byte out.

Law: what happens, in the order in which it can happen: the request goes on, its
body follows, the answer comes, and whatever else may come between. Both sides
call in here; everything that ends an exchange ends it through ``end.py``.

Slots, each set at the start: reading a class's default through an object costs three times a slot's.

Its moments, in monotonic seconds (``time.monotonic``), for metrics and the access log; 0.0 is one that never came:

    began         its head has been read
    forwarded_at  its head has been given to a server's connection; the last time, where it was sent again
    heard_at      the head of the server's answer has come (the final one, not a 1xx)
    started_at    the answer's head has been written, where the exchange did not end with that
    ended_at      all is over (``end.py``)

and ``waited``: for how many seconds of those before ``forwarded_at`` it waited, for a slot or for a connection to a
server (in line, for connecting, with a server that it had to leave). What is refused while it waits for a server has
neither, and the gateway's own answers have no ``heard_at``.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

from keystile.config.model import MANAGEMENT_UPSTREAM
from keystile.keys.keyring import HeldKey
from keystile.relay.admit import Note
from keystile.relay.cors import answer_fields
from keystile.relay.credentials import Presented
from keystile.relay.end import end, free_slot
from keystile.relay.forward import caller_lines, request_block, without_cors, without_hsts
from keystile.relay.own_answers import refusal_fields
from keystile.relay.problem import problem
from keystile.relay.refusal import REASONS, Refusal, of_fault
from keystile.relay.search import Search
from keystile.relay.tunnel import Tunnel
from keystile.relay.upstreams import UpstreamGroup
from keystile.routing.route import Route
from keystile.wire.answer_head import UNTIL_CLOSE, AnswerHead
from keystile.wire.client import ANSWER, ClientConnection
from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import LAST_CHUNK, chunk
from keystile.wire.grammar import IDEMPOTENT
from keystile.wire.request_fields import RequestFields
from keystile.wire.upstream import UpstreamConnection
from keystile.wire.websocket import UPGRADE_LINES, is_granted

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway

#: Body bytes that are kept while the upstream is being connected to; then the client has to wait.
HELD_BOUND: Final = 64 * 1024
#: From this size on a chunk is written in three pieces rather than copied into one.
COPY_BOUND: Final = 16 * 1024


class Exchange:
    """See the module. Implements ``ServedRequest`` (client side) and ``ForwardedRequest`` (upstream side)."""

    __slots__ = (
        "all_written",
        "announces_body",
        "answer_started",
        "answered",
        "began",
        "body_sent",
        "bytes_in",
        "bytes_out",
        "client",
        "configuration",
        "cut",
        "detail",
        "ended",
        "ended_at",
        "fields",
        "fields_of_refusal",
        "forwarded_at",
        "gateway",
        "group",
        "heard_at",
        "held",
        "held_size",
        "in_query",
        "keep_alive",
        "key",
        "method",
        "note",
        "path",
        "rechunks",
        "refusal",
        "request_id",
        "route",
        "search",
        "served_by",
        "slot_row",
        "started_at",
        "status",
        "target",
        "upgrades",
        "upstream",
        "waited",
        "waits_until",
    )

    held: list[bytes]  # body bytes that wait for the upstream; only where a body is announced

    def __init__(
        self,
        gateway: Gateway,
        client: ClientConnection,
        method: bytes,
        target: bytes,
        fields: RequestFields,
        note: Note,
        request_id: bytes,
    ) -> None:
        self.gateway = gateway
        self.client = client
        self.method = method
        self.target = target
        self.fields = fields
        self.note = note
        self.request_id = request_id
        self.route: Route | None = None
        self.key: HeldKey | None = None
        self.path: bytes = b""
        self.slot_row = -1
        self.in_query: Presented | Refusal | None = None  # the key that was in the query, and was taken out of it
        self.waits_until = 0.0  # set once the request waits, or has waited, for a slot
        self.detail: str | None = None
        self.fields_of_refusal: bytes = b""
        self.refusal: Refusal | None = None
        self.status = 0
        self.group: UpstreamGroup | None = None
        self.upstream: UpstreamConnection | None = None
        self.served_by: UpstreamConnection | None = None  # the last one that had its head
        self.announces_body = False
        self.held_size = 0
        self.body_sent = False
        self.search: Search | None = None  # only where no connection was ready, or one broke
        self.answer_started = False
        self.answered = False  # the whole answer is there, written or about to be
        self.all_written = False  # the whole answer has been written (not necessarily all of it has left)
        self.cut = False  # the answer was cut
        self.rechunks = False
        self.keep_alive = False
        self.upgrades = False  # it asks to become a WebSocket, of a route that serves those
        self.ended = False
        self.began = monotonic()
        self.waited = self.forwarded_at = self.heard_at = self.started_at = self.ended_at = 0.0
        self.configuration = 0  # only where access log lines are wanted: the number of the one by which it was admitted
        self.bytes_in = 0
        self.bytes_out = 0

    # -- the request goes on ----------------------------------------------------------------------

    def forward(self) -> None:
        """Send the admitted request to its upstream: at once where a connection is ready."""
        assert self.route is not None
        self.group = group = self.gateway.upstreams[self.route.upstream]
        connection = group.take(self)
        if connection is not None:
            self.send(connection)
        else:
            self.search = search = Search(self, group)
            search.begin()

    def send(self, connection: UpstreamConnection) -> None:
        """The head, and what has come of the body, in one write."""
        self.upstream = self.served_by = connection
        connection.carried = self
        client = self.client
        fields = self.fields
        head = b"%b %b HTTP/1.1\r\n%b%bX-Request-Id: %b\r\n\r\n" % (
            self.method,
            self.target,
            self._block(),
            UPGRADE_LINES if self.upgrades else b"",
            self.request_id,
        )
        complete = client.state == ANSWER
        if self.announces_body:
            head += self._framed_body(complete)
        self.forwarded_at = monotonic()
        if complete:
            self.gateway.outbox.put(connection.transport, head)
        else:
            connection.transport.write(head)
        if fields.expects_continue and not complete and not self.bytes_in and not self._was_sent():
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.held_size > HELD_BOUND and not connection.paused:
            client.resume()

    def _was_sent(self) -> bool:
        return self.search is not None and self.search.sent > 0

    def _block(self) -> bytes:
        """The lines for the upstream; those of the last head with the same fields where they are the same."""
        note, key, group = self.note, self.key, self.group
        assert group is not None
        if note.block_key is not key or note.block_group is not group or not note.block:
            identity = b"" if key is None else self.gateway.identities.lines(key)
            if group.is_management:
                return request_block(self.fields, self.client.peer, identity + self._caller(), group)
            note.block = request_block(self.fields, self.client.peer, identity, group)
            note.block_key, note.block_group = key, group
        return note.block

    def _caller(self) -> bytes:
        """What management is told besides. Not remembered: a key in the query may have come with its other secret."""
        presented = self.in_query or self.note.presented
        return caller_lines(presented, self.note.peer) if isinstance(presented, Presented) else b""

    def _framed_body(self, complete: bool) -> bytes:
        """The body bytes that were held, in the framing of the request."""
        body = b"".join(self.held)
        self.held.clear()
        if body:
            self.body_sent = True
        if not self.fields.chunked:
            return body
        return (chunk(body) if body else b"") + (LAST_CHUNK if complete else b"")

    def body(self, data: bytes, complete: bool) -> None:
        """More of the request's body."""
        if self.answered:
            return
        self.bytes_in += len(data)
        connection = self.upstream
        if connection is None:
            self._hold(data)
            return
        transport = connection.transport
        self.body_sent = True
        if not self.fields.chunked:
            transport.write(data)
        else:
            _write_chunk(transport, data, complete)

    def _hold(self, data: bytes) -> None:
        self.held.append(data)
        self.held_size += len(data)
        if self.held_size > HELD_BOUND:
            self.client.pause()

    def upstream_clogged(self) -> None:
        """The server reads slowly: so do we."""
        if not self.answered:
            self.client.pause()

    def upstream_drained(self) -> None:
        """The server reads again."""
        if not self.answered:
            self.client.resume()

    # -- the answer comes -------------------------------------------------------------------------

    def answer(self, head: AnswerHead, body: bytes, complete: bool) -> None:
        """The answer's head, and what came of its body with it: one write where it is all."""
        self.heard_at = monotonic()
        client = self.client
        fields = self.fields
        self.answer_started = True
        self.status = head.status
        if head.status >= 500 or self.search is not None:
            self._tell(head.status < 500)
        keep_alive = fields.keep_alive and client.state == ANSWER and not self.gateway.draining
        if self.upgrades:
            keep_alive = False  # it was not opened; what follows may be meant for it, and would be read as requests
        start, framing = head.start, head.framing
        if framing and (head.chunked or head.content_length == UNTIL_CLOSE):
            if fields.minor_version:
                self.rechunks = True
            else:
                framing = b""  # RFC 9112 §6.1: HTTP/1.0 knows no chunks; the body ends with the connection
                keep_alive = False
        self.keep_alive = keep_alive
        route = self.route
        if route is not None and route.cors is not None:
            start = without_cors(start) + answer_fields(route.cors, fields.origin)
        if client.says_hsts:
            start = without_hsts(start)
        data = b"%b%b%bX-Request-Id: %b\r\n%b\r\n" % (
            start,
            framing,
            client.answer_lines,
            self.request_id,
            b"" if keep_alive and fields.minor_version else _connection_line(keep_alive),
        )
        if complete and len(body) <= COPY_BOUND:
            self.bytes_out = len(body)
            self._leave_clean()
            free_slot(self)
            self.gateway.outbox.put(client.transport, data + (_chunked(body, True) if self.rechunks else body), self)
        else:
            self._write_answer(data, body, complete)

    def trace_id(self) -> bytes:
        """Of the trace that it belongs to; empty where none is known."""
        trace = self.fields.trace
        return b"" if trace is None else trace.trace_id

    def span_id(self) -> bytes:
        """Its own in that trace, where the gateway takes part in it."""
        return b""

    def parent_span_id(self) -> bytes:
        """Who has called the gateway, in that trace; empty where nobody has said so."""
        trace = self.fields.trace
        return b"" if trace is None else trace.parent_id

    def is_recorded(self) -> bool:
        """Whether it is to be a span."""
        return False

    def _tell(self, well: bool) -> None:
        """How the server has answered; good answers are told only of a server that may have to be tried."""
        group, connection = self.group, self.upstream
        assert group is not None
        assert connection is not None
        group.answered(self.search, group.member_of(connection.pool), well=well)

    def answer_body(self, body: bytes, complete: bool) -> None:
        """More of the answer's body."""
        self._write_answer(b"", body, complete)

    def _write_answer(self, head: bytes, body: bytes, complete: bool) -> None:
        self.bytes_out += len(body)
        transport = self.client.transport
        if complete and len(body) <= COPY_BOUND and not self.client.paused:
            free_slot(self)
        if self.rechunks:
            if head:
                transport.write(head + _chunked(body, complete))
            else:
                _write_chunk(transport, body, complete)
        elif head and len(body) > COPY_BOUND:
            transport.writelines([head, body])
        else:
            transport.write(head + body if head else body)
        if head:
            self.started_at = monotonic()
        if complete and not self.ended:
            self._complete()

    def _complete(self) -> None:
        """The answer is whole: the upstream's part is over; ours when its last byte has left."""
        self._leave_clean()
        self.written()

    def _leave_clean(self) -> None:
        """The answer is whole, so the upstream connection can serve others if the request is whole too."""
        self.answered = True
        connection, self.upstream = self.upstream, None
        if connection is not None:
            connection.release(clean=self.client.state == ANSWER)

    def written(self) -> None:
        """The whole answer has been written: the end, unless bytes of it have not left yet."""
        self.all_written = True
        if not self.client.paused:
            end(self)
        elif not self.started_at:
            self.started_at = monotonic()

    def interim(self, head: AnswerHead) -> None:
        """1xx: our own 100 has been sent where one was asked for; others are passed on to who can read them."""
        if head.status != 100 and self.fields.minor_version:
            self.client.write(head.start + b"\r\n")

    def switched(self, head: AnswerHead, data: bytes) -> None:
        """The server takes up the WebSocket: from here on both sides are a tunnel's. Raises ``WireError``."""
        self.heard_at = monotonic()
        if not is_granted(head, self.fields):
            raise WireError(Fault.MALFORMED, "The server switched to something that was not asked for.")
        client, connection = self.client, self.upstream
        assert connection is not None
        self.upstream = None
        self.answer_started = True
        self.status = head.status
        tunnel = Tunnel(self, connection)
        client.served = connection.carried = tunnel
        lines = UPGRADE_LINES + client.answer_lines
        theirs = without_hsts(head.start) if client.says_hsts else head.start
        start = b"%b%bX-Request-Id: %b\r\n\r\n" % (theirs, lines, self.request_id)
        early = client.open_tunnel(tunnel)
        if connection.paused:
            client.pause()  # opening it began to read again, and this server has not read the handshake yet
        client.write(start)
        self.started_at = monotonic()
        if data:
            tunnel.answer_body(data, False)
        if early:
            tunnel.from_client(early)

    def client_clogged(self) -> None:
        """The client reads slowly: so do we."""
        if self.upstream is not None:
            self.upstream.pause()

    def client_drained(self) -> None:
        """The client reads again, or has read all."""
        if self.all_written:
            end(self)
        elif self.upstream is not None:
            self.upstream.resume()

    # -- what may come between --------------------------------------------------------------------

    def refuse(self, refusal: Refusal) -> None:
        """Say no: as an answer, or by cutting the connection where an answer has begun."""
        if self.ended:
            return
        if self.answer_started or self.answered:
            self._cut(refusal)
            return
        if self.upstream is not None or self.search is not None:
            self._leave_upstream()
        self.refusal = refusal
        # Their clients know the service's own errors; other routes' clients know those of the API behind.
        as_service = self.route is not None and self.route.upstream == MANAGEMENT_UPSTREAM
        request_id = self.request_id
        said = problem(refusal, request_id, detail=self.detail, as_service=as_service)
        more = refusal_fields(self.gateway, self) if self.fields.origin else b""
        self._say(refusal.status, said.head, more + self.fields_of_refusal, said.before, request_id, said.after)

    def own_answer(self, status: int, fields: bytes, body: bytes) -> None:
        """An answer of the gateway itself: ``fields`` are lines, each ended with CRLF; 204 has no body."""
        length = b"Content-Length: %d\r\n" % len(body) if status != 204 else b""
        head = b"HTTP/1.1 %d %b\r\n%b%bX-Request-Id: " % (status, REASONS[status], fields, length)
        self._say(status, head, b"", body)

    def _say(
        self, status: int, head: bytes, fields: bytes, body: bytes, middle: bytes = b"", after: bytes = b""
    ) -> None:
        """``head``: as far as the request's id; ``fields``: lines that come after it; the body in pieces."""
        client = self.client
        self.status = status
        self.answered = True
        if self.method == b"CONNECT":
            client.read_no_more()  # RFC 9110 §9.3.6: what follows is meant for a tunnel
        # ``upgrades``: as in ``answer``.
        keep_alive = client.state == ANSWER and not self.upgrades and not self.gateway.draining
        self.keep_alive = keep_alive = keep_alive and self.fields.keep_alive
        free_slot(self)
        connection = b"" if keep_alive and self.fields.minor_version else _connection_line(keep_alive)
        if self.method == b"HEAD":
            body = middle = after = b""
        self.gateway.outbox.put(
            client.transport,
            b"%b%b\r\n%b%b%b\r\n%b%b%b"
            % (head, self.request_id, client.own_lines, fields, connection, body, middle, after),
            self,
        )

    def broken(self, error: WireError) -> None:
        """The request's body cannot be read."""
        if self.answered:
            return  # the answer is on its way; the connection ends after it
        self.detail = error.detail
        self.refuse(of_fault(error.fault))

    def out_of_time(self) -> None:
        """The total time is over: the upstream's part is cut too, and is the server's fault if it had it all."""
        if self.upstream is not None and not self.answer_started and self.client.state == ANSWER:
            self._tell(False)
        seconds = (self.client.earlier or self.gateway).request_timeout
        self.detail = Refusal.OUT_OF_TIME.detail.format(seconds=f"{seconds:g}")
        self.refuse(Refusal.OUT_OF_TIME)

    def sends_too_slowly(self) -> None:
        """The body comes more slowly than it must. While we are connecting, a client may wait for our 100."""
        if self.upstream is not None:
            self.refuse(Refusal.BODY_TOO_SLOW)

    def reads_too_slowly(self) -> None:
        """The client holds its slot with an answer that it does not read."""
        self._cut(Refusal.ANSWER_TOO_SLOW)

    def be_the_last(self) -> None:
        """Its connection may serve no request after it."""
        self.fields.keep_alive = self.keep_alive = False

    def held_bytes(self) -> int:
        """Bytes that wait in memory for the upstream."""
        connection = self.upstream
        if connection is None:
            return self.held_size
        return connection.transport.get_write_buffer_size() if connection.paused else 0

    def upstream_broken(self, connection: UpstreamConnection, error: WireError | None) -> None:
        """The upstream connection ended, or cannot be read, before the answer was whole."""
        self.upstream = None
        connection.abort()
        group = self.group
        assert group is not None
        search = self.search = self.search or Search(self, group)
        repeatable = error is None and not connection.heard and not self.body_sent and self.method in IDEMPOTENT
        if not search.again(connection, repeatable=repeatable):
            self.refuse(Refusal.UPSTREAM_BROKEN)

    def client_gone(self) -> None:
        """The client left: nobody waits for the answer any more."""
        if self.ended:
            return
        self.cut = not self.answered or self.client.paused
        self._leave_upstream()
        self.client.abort()
        end(self)

    def _cut(self, refusal: Refusal) -> None:
        """An answer that cannot be finished is cut, never ended cleanly: the client must not take it for whole."""
        self.refusal = refusal
        self.cut = True
        self._leave_upstream()
        self.client.abort()
        end(self)

    def _leave_upstream(self) -> None:
        connection, self.upstream = self.upstream, None
        if connection is not None:
            connection.abort()
        elif self.search is not None:
            self.search.leave()


def _connection_line(keep_alive: bool) -> bytes:
    return b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n"


def _chunked(body: bytes, complete: bool) -> bytes:
    return (chunk(body) if body else b"") + (LAST_CHUNK if complete else b"")


def _write_chunk(transport: asyncio.Transport, data: bytes, complete: bool) -> None:
    """``data`` as a chunk, and the last chunk where it is ``complete``."""
    if len(data) <= COPY_BOUND:
        if data or complete:
            transport.write(_chunked(data, complete))
    else:
        transport.writelines([b"%x\r\n" % len(data), data, b"\r\n" + LAST_CHUNK if complete else b"\r\n"])
