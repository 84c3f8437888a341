"""One connection from a client: heads and bodies in, answers out, in order.

Law: bytes, framing, order and time; no keys, no routes. What a request means
is the application's business (``application.py``), which gets one request at a
time: bytes of the next one wait here, a small bound of them, and then reading
stops (pipelining, RFC 9112 §9.3.2).

The write buffer's limit is the least: uvloop writes at once, and ``paused`` means
exactly that bytes of the answer have not reached the kernel yet.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_INFO
from termios import FIONREAD, TIOCOUTQ
from typing import Final, cast

from keystile.limits.crowd import EXEMPT
from keystile.limits.deadlines import NEVER
from keystile.limits.pace import Pace
from keystile.wire.application import Application, Bounds, ServedRequest, Tunnel
from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import ChunkedReader
from keystile.wire.grammar import METHOD_BEGUN, METHODS, OTHER_VERSION, REQUEST_LINE
from keystile.wire.peer import Peer
from keystile.wire.proxy_protocol import ProxyHeader
from keystile.wire.request_fields import RequestFields
from keystile.wire.request_head import origin_form
from keystile.wire.tls_transport import UNREAD
from keystile.wire.turns import LONG_READ, long_read

#: Bytes that may wait behind the request being served before reading stops.
PIPELINE_BOUND: Final = 64 * 1024
#: Heads longer than this are parsed anew each time rather than remembered per connection.
REMEMBERED_HEAD: Final = 2048
#: Bytes and seconds for which a closed conversation is still listened to, so that the client can read the
#: answer before a reset destroys it (RFC 9112 §9.6).
LINGER_BYTES: Final = 1024 * 1024
LINGER_SECONDS: Final = 2.0
#: The same for one that was idle: there is no answer to be read, but a request may have crossed our end.
FAREWELL_SECONDS: Final = 0.5
#: ``struct linger`` {on, 0 s}: close() then sends RST and discards what was not sent (socket(7)).
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
#: ``tcpi_state``, the first byte of ``struct tcp_info`` (tcp(7)), of a connection that no side has closed.
_ESTABLISHED: Final = 1


# What the next bytes from the client are. Plain numbers: looking up an enum's member costs as much as a decision.
HEAD: Final = 0
BODY: Final = 1
ANSWER: Final = 2  # they belong to a later request: an answer is due first
LINGER: Final = 3  # nobody will read them
TUNNEL: Final = 4  # they are passed on as they are


class ClientConnection(asyncio.Protocol):
    """See the module."""

    __slots__ = (
        "_advancing",
        "_body_bytes",
        "_chunks",
        "_head_began",
        "_last_block",
        "_last_fields",
        "_last_head",
        "_last_method",
        "_last_target",
        "_left",
        "_lingered",
        "_pace",
        "_searched",
        "_waiting",
        "all_received",
        "announced",
        "answer_lines",
        "application",
        "asked",
        "counted",
        "deaf",
        "due",
        "earlier",
        "entrance",
        "fault",
        "first",
        "made",
        "own_lines",
        "paused",
        "peer",
        "rest",
        "row",
        "says_hsts",
        "served",
        "slot_row",
        "state",
        "transport",
        "tunnel",
        "went",
    )

    peer: Peer

    def __init__(self, application: Application) -> None:
        self.application = application
        self.made = False  # connection_made was called
        self.counted: bytes | None = None  # by which name the crowd knows it
        self.announced: ProxyHeader | None = None
        self.entrance: object | None = None  # a place for the application: by which way it came
        self.asked = False  # whether the application asks something of each of its requests because of that
        self.answer_lines = b""  # field lines of every answer on it
        self.own_lines = b""  # those of answers of the gateway's own
        self.says_hsts = False  # whether these hold Strict-Transport-Security, and an upstream's is left out
        self.tunnel: Tunnel | None = None
        self.earlier: Bounds | None = None  # of the rules by which the present request began, where others came since
        self.all_received = False  # the client sends no more
        self._pace: Pace | None = None  # only while it owes bytes
        self.transport = cast(asyncio.Transport, None)
        self.state = HEAD
        self.served: ServedRequest | None = None
        self.paused = False  # the client does not read fast enough
        self.deaf = False  # we do not read at present
        self.row = 0  # long reads since it last let others go first
        self.first = b""
        self.fault: WireError | None = None  # what is wrong with the body bytes that came with the head
        self.due = NEVER
        self.slot_row = -1  # where the limiter last found this peer
        self.went: object | None = None  # a place for the application: where its last request went
        self._advancing = False
        self._waiting = bytearray()  # bytes that cannot be used yet
        self._searched = -1  # how far _waiting was searched for the end of a head; -1: none has begun
        self._left = 0  # body bytes to come, where Content-Length said so
        self._chunks: ChunkedReader | None = None
        self._body_bytes = 0
        self._last_block = b""
        self._last_fields: RequestFields | None = None
        self._last_head = b""  # the whole head, of a request without a body; its fields are ``_last_fields``
        self._last_method = self._last_target = b""
        self.rest = 0.0  # a place for the application: for how long it was not read last, because it was refused
        self._lingered = 0
        self._head_began = 0.0

    # -- what happens on the wire ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted (and, on TLS, the handshake is done)."""
        self.made = True
        self.transport = cast(asyncio.Transport, transport)
        application = self.application
        self.peer = application.meet(self)
        self.transport.set_write_buffer_limits(high=0)  # paused: a byte is left
        if self.counted is None:
            name = EXEMPT if self.peer.trusted else self.peer.slot
            if not application.crowd.enter(name):
                self.state = LINGER
                application.turn_away(self)
                return
            self.counted = name
        application.connections.add(self)
        self.due = application.clock.now + application.head_time

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self.state
        if state == HEAD:
            if data == self._last_head and data and not self._waiting:
                self._serve_again()
                return
            if self._waiting:
                self._waiting += data
                if self._waiting.find(b"\r\n\r\n", max(self._searched, 0)) < 0:
                    self._wait_for_head()
                    return
                data = self._take_waiting()
            self._advance(data)
        elif state == BODY:
            self._read_body(data)
        elif state == ANSWER:
            self._hold(data)
        elif self.tunnel is not None:
            if len(data) >= LONG_READ:
                long_read(self, self.transport)
            self.tunnel.from_client(data)
        else:
            self._linger(data)

    def eof_received(self) -> bool:
        """The client sends no more. Like nginx, we take that for its leaving: close() sends the same.

        In a tunnel it is one direction's end, where the transport can do that (TLS cannot).
        """
        self.all_received = True
        if self.tunnel is not None:
            return self.tunnel.client_done()
        if self.served is not None and not self.served.answered:
            self.served.client_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by whichever side."""
        self.application.connections.discard(self)
        self.uncount()
        self.state = LINGER
        if self.served is not None:
            self.served.client_gone()

    def uncount(self) -> None:
        """It is one of the crowd no more."""
        name, self.counted = self.counted, None
        if name is not None:
            self.application.crowd.leave(name)

    def pause_writing(self) -> None:
        """Bytes are left that the kernel did not take."""
        self.paused = True
        self._pace = None
        if self.served is not None:
            self.served.client_clogged()

    def resume_writing(self) -> None:
        """All has reached the kernel."""
        self.paused = False
        self._pace = None
        if self.served is not None:
            self.served.client_drained()

    # -- heads ----------------------------------------------------------------------------------

    def _advance(self, data: bytes) -> None:
        """Serve the requests in ``data`` as far as they can be, one after the other; hold the rest."""
        self._advancing = True
        while data and self.state == HEAD:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._waiting += data
                self._wait_for_head()
                break
            try:
                data = self._read_request(data, end + 4)
            except WireError as error:
                self._reject(error, _method_begun(data))
                break
        else:
            if data and self.state == ANSWER:
                self._hold(data)
        self._advancing = False

    def _read_request(self, data: bytes, end: int) -> bytes:
        """Read the request whose head ends at ``end`` and pass it on; what follows it, still unread."""
        application = self.application
        line = REQUEST_LINE.match(data)
        if line is None or line.end() >= end:
            if data.startswith(b"\r\n") and not data.startswith(b"\r\n\r\n"):
                return data[2:]  # RFC 9112 §2.2: one empty line before a request is read over
            raise _line_fault(data[:end])
        if end > application.max_head_size or line.end(2) - line.start(2) > application.max_head_size // 2:
            raise _size_fault(data, application.max_head_size)
        method = line[1]
        if method not in METHODS:
            raise WireError(Fault.UNKNOWN_METHOD, "This method is not known here.")
        fields = self._read_fields(data[line.end() : end])
        target = line[2]
        if not target.startswith(b"/"):
            target = origin_form(target, fields.host)
        # From the request's first byte: where its head came in pieces, the time runs already.
        self.due = (self._head_began or application.clock.now) + application.request_time
        self._head_began = 0.0
        rest = data[end:] if len(data) > end else b""
        if fields.chunked or fields.content_length > 0:
            rest = self._start_body(fields, rest)
        else:
            self.state = ANSWER
            if fields is self._last_fields and end <= REMEMBERED_HEAD:
                self._last_head, self._last_method, self._last_target = data[:end], method, target
        application.begin(self, method, target, fields)
        return rest

    def _serve_again(self) -> None:
        """The head that came last has come again, and nothing else: it says what it said. Clients that poll do that."""
        fields = self._last_fields
        assert fields is not None
        application = self.application
        self.due = application.clock.now + application.request_time
        self.state = ANSWER
        application.begin(self, self._last_method, self._last_target, fields)

    def _read_fields(self, block: bytes) -> RequestFields:
        """The fields in ``block``. A kept-alive client mostly repeats them: then they are not parsed again."""
        if block == self._last_block and self._last_fields is not None:
            return self._last_fields
        fields = self.application.reader.read(block, trusted=self.peer.trusted, last=self._last_fields)
        if len(block) <= REMEMBERED_HEAD:
            self._last_block = block
            self._last_fields = fields
            self._last_head = b""
        return fields

    def begin_anew(self, earlier: Bounds) -> None:
        """The application works by other rules. A request under way is served to its end by the ``earlier`` ones."""
        if self.served is None:
            self._forget()
        elif self.earlier is None:
            self.earlier = earlier

    def _forget(self) -> None:
        """What was worked out by earlier rules, for requests to come, is gone."""
        self.earlier = None
        self._last_block, self._last_fields, self._last_head = b"", None, b""
        self.went = None
        self.peer = self.application.meet(self)

    def retire(self) -> None:
        """Close it once no request is being served on it."""
        if self.served is None:
            self.transport.close()
        else:
            self.served.be_the_last()

    def _take_waiting(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        self._searched = -1
        return data

    def _wait_for_head(self) -> None:
        """A head has begun and not ended: its time runs, and its size is bounded."""
        waiting = self._waiting
        application = self.application
        if self._searched < 0:
            self._head_began = application.clock.now
            self.due = self._head_began + min(application.head_time, application.request_time)
            if not waiting[:1].isalpha() and not b"\r\n".startswith(waiting[:2]):
                self._reject(WireError(Fault.MALFORMED, "This is not an HTTP/1.1 request."), b"-")
                return
        if len(waiting) > application.max_head_size:
            self._reject(_size_fault(bytes(waiting), application.max_head_size), _method_begun(waiting))
            return
        self._searched = max(0, len(waiting) - 3)

    # -- bodies ---------------------------------------------------------------------------------

    def _start_body(self, fields: RequestFields, data: bytes) -> bytes:
        """A body follows; take what has come of it into ``first``. What comes after it is returned."""
        self._body_bytes = 0
        self.state = BODY
        self.fault = None
        try:
            if fields.chunked:
                self._chunks = ChunkedReader()
            else:
                self._left = fields.content_length
                if fields.content_length > self.application.max_body_size:
                    raise WireError(Fault.BODY_TOO_LARGE, "The request's body is larger than allowed.")
            self.first, complete, rest = self._take_body(data)
        except WireError as fault:
            # The head could be read: so the application says what is wrong, in the name of that request.
            self.first, self.fault = b"", fault
            return b""
        if complete:
            self.state = ANSWER
        return rest

    def _take_body(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """Body bytes in ``data``, whether the body is complete, and what follows it."""
        if self._chunks is None:
            size = len(data)
            if size <= self._left:
                self._left -= size
                return data, not self._left, b""
            body, rest = data[: self._left], data[self._left :]
            self._left = 0
            return body, True, rest
        body = self._chunks.feed(data)
        self._body_bytes += len(body)
        if self._body_bytes > (self.earlier or self.application).max_body_size:
            raise WireError(Fault.BODY_TOO_LARGE, "The request's body is larger than allowed.")
        complete, rest = self._chunks.done, self._chunks.rest
        if complete:
            self._chunks = None
        return body, complete, rest

    def _read_body(self, data: bytes) -> None:
        if len(data) >= LONG_READ:
            long_read(self, self.transport)
        served = self.served
        try:
            body, complete, rest = self._take_body(data)
        except WireError as error:
            if served is not None:
                served.broken(error)
            return
        if complete:
            self.state = ANSWER
            if rest:
                self._hold(rest)
        if served is not None:
            served.body(body, complete)

    def _hold(self, data: bytes) -> None:
        """Bytes of a later request: they wait for their turn."""
        self._waiting += data
        if len(self._waiting) > PIPELINE_BOUND:
            self.deaf = True
            self.transport.pause_reading()

    # -- what the application does --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""
        self.transport.write(data)

    def pause(self) -> None:
        """Stop reading the body: it cannot be passed on."""
        self.deaf = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading the body."""
        if len(self._waiting) <= PIPELINE_BOUND:
            self.deaf = False
            self.transport.resume_reading()

    def has_unread(self) -> bool:
        """Whether bytes have come that were not read yet, in the kernel or here."""
        if self._waiting:
            return True
        socket = self.transport.get_extra_info("socket")
        if socket is None or self.transport.is_closing():
            return False
        return any(fcntl.ioctl(socket.fileno(), FIONREAD, bytes(4)))

    def notice_leaving(self) -> None:
        """While nothing is read a close goes unnoticed: ask the kernel (once a second, where it matters)."""
        if self.deaf and self.served is not None and not self.served.answered:
            socket = self.transport.get_extra_info("socket")
            if socket.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0] != _ESTABLISHED:
                self.served.client_gone()

    def look(self) -> int:
        """Once a second: notice that the client has left, or is too slow. Returns the bytes held in memory for it."""
        served = self.served
        if served is None:
            return len(self._waiting)
        self.notice_leaving()
        if self.tunnel is None:
            self._keep_pace(served)
        return self.held_bytes()

    def held_bytes(self) -> int:
        """Bytes that wait in memory, in either direction."""
        held = len(self._waiting)
        if self.served is not None:
            held += self.served.held_bytes()
        if self.deaf:
            held += self.transport.get_extra_info(UNREAD, 0)
        return held + self.transport.get_write_buffer_size() if self.paused else held

    def _keep_pace(self, served: ServedRequest) -> None:
        bounds = self.earlier or self.application
        if self.paused:
            floor, amount = bounds.answer_floor, -self._unread()
        elif self.state == BODY and not self.deaf and not served.answered:
            floor, amount = bounds.body_floor, -self._left if self._chunks is None else self._body_bytes
        else:
            self._pace = None
            return
        now = self.application.clock.now
        if self._pace is None:
            self._pace = Pace(amount, now)
        elif floor is not None and self._pace.is_below(floor, amount, now):
            if self.paused:
                served.reads_too_slowly()
            else:
                served.sends_too_slowly()

    def _unread(self) -> int:
        """Bytes of the answer that the client's side has not taken yet.

        Ours alone do not tell: the kernel reports room only when a third of its own buffer is free, which for a
        client that reads steadily may be once in many seconds.
        """
        socket = self.transport.get_extra_info("socket")
        queued = fcntl.ioctl(socket.fileno(), TIOCOUTQ, bytes(4)) if socket is not None else bytes(4)
        return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

    def open_tunnel(self, tunnel: Tunnel) -> bytes:
        """From now on bytes are passed on unread; those that have come already are returned."""
        self.state = TUNNEL
        self.tunnel = tunnel
        early = self._take_waiting()
        if self.deaf:
            self.deaf = False
            self.transport.resume_reading()
        return early

    def abort(self) -> None:
        """Cut the connection with a reset, so that a client cannot take what it has for a whole answer."""
        self.served = None
        socket = self.transport.get_extra_info("socket")
        if socket is not None and not self.transport.is_closing():
            socket.setsockopt(SOL_SOCKET, SO_LINGER, _LINGER_ZERO)
        self.transport.abort()

    def finished(self, keep_alive: bool) -> None:
        """The answer is out and its request is over: read the next one, or close."""
        self.served = None
        self.tunnel = None
        application = self.application
        if self.transport.is_closing():
            return
        if self.earlier is not None:
            self._forget()
        if not keep_alive or self.state != ANSWER:
            self._close_slowly()
            return
        self.state = HEAD
        if self.deaf:
            self.deaf = False
            self.transport.resume_reading()
        if self._waiting:
            if not self._advancing:
                self._advance(self._take_waiting())
        else:
            self.due = application.clock.now + application.idle_time

    def is_idle(self) -> bool:
        """Whether no request is under way, as far as we can know: what has come and was not read yet may be one."""
        return self.served is None and self.state == HEAD and not self._waiting and not self._has_come()

    def close_if_idle(self) -> None:
        """End a connection on which no request is under way.

        One that crosses our end is not answered with a reset: until the client has ended too, we listen for a while.
        """
        if self.is_idle():
            self._send_end(FAREWELL_SECONDS)

    def _has_come(self) -> bool:
        """Whether bytes lie in the kernel that were not read."""
        socket = self.transport.get_extra_info("socket")
        return socket is not None and fcntl.ioctl(socket.fileno(), FIONREAD, bytes(4)) != bytes(4)

    def out_of_time(self) -> None:
        """What was due did not come: the head, the end of the request, the next request, or the client's end."""
        self.due = NEVER
        if self.served is not None:
            self.served.out_of_time()
        elif self.state == HEAD and self._waiting:
            fault = WireError(Fault.HEAD_TOO_SLOW, "The request's head did not arrive in time.")
            self._reject(fault, _method_begun(self._waiting))
        else:
            self.transport.abort()

    # -- ends -----------------------------------------------------------------------------------

    def _reject(self, error: WireError, method: bytes) -> None:
        self.read_no_more()
        self.application.reject(self, method, error)

    def read_no_more(self) -> None:
        """Whatever still comes is not read as a request."""
        self.state = BODY
        self._waiting.clear()

    def _close_slowly(self) -> None:
        """Close, but let the client read the answer first (RFC 9112 §9.6)."""
        # A tunnel's client that has sent its end, or cannot be sent ours alone (TLS), has nothing to wait for.
        over = self.state == TUNNEL and (self.all_received or self.peer.tls is not None)
        whole = (over or self.state in (ANSWER, HEAD)) and not self._waiting
        self.state = LINGER
        self._waiting.clear()
        if whole:
            self.transport.close()
            return
        self._send_end(LINGER_SECONDS)

    def _send_end(self, seconds: float) -> None:
        """Our end (on TLS with a close_notify); the client's is waited for, not for long."""
        self.state = LINGER
        self.transport.write_eof()
        self.deaf = False
        self.transport.resume_reading()
        self.due = self.application.clock.now + self.application.clock.after(seconds)

    def _linger(self, data: bytes) -> None:
        self._lingered += len(data)
        if self._lingered > LINGER_BYTES:
            self.transport.close()


def _method_begun(data: bytes | bytearray) -> bytes:
    """The method that a head begins with, whatever becomes of the rest: a HEAD gets no body (RFC 9110 §9.3.2)."""
    begun = METHOD_BEGUN.match(data)
    return bytes(begun[1]) if begun is not None else b"-"


def _line_fault(head: bytes) -> WireError:
    """What is wrong with a request line that the grammar does not know."""
    if OTHER_VERSION.match(head) is not None:
        return WireError(Fault.BAD_VERSION, "Only HTTP/1.1 and HTTP/1.0 are served here.")
    return WireError(Fault.MALFORMED, "The request line is not well-formed.")


def _size_fault(data: bytes, bound: int) -> WireError:
    """Whether the target or the fields are too long."""
    line_end = data.find(b"\r\n")
    if line_end < 0 or line_end > bound // 2:
        return WireError(Fault.TARGET_TOO_LONG, f"The request target may have {bound // 2} bytes.")
    return WireError(Fault.HEAD_TOO_LARGE, f"The request's head may have {bound} bytes.")
