"""Connections to an upstream's servers: one answer at a time, and a pool of those that are clean.

Law: a connection is given out only when nothing has arrived on it unasked, and
taken back only after a complete, clean exchange. Anything else closes it: the
next answer would belong to somebody else. Whose request it carries, this file
does not know.

As with clients, the write buffer's limit is zero: ``paused`` means exactly that
bytes of the request have not reached the kernel yet.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, cast

from keystile.wire import unix
from keystile.wire.answer_head import UNTIL_CLOSE, AnswerHead, read_answer_head
from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import ChunkedReader
from keystile.wire.names import Addresses

#: Bytes that an answer's head may have.
MAX_ANSWER_HEAD: Final = 64 * 1024
#: Answer heads longer than this are parsed anew each time.
REMEMBERED_HEAD: Final = 2048
#: Interim answers (1xx) that may come before the final one.
MAX_INTERIM: Final = 16
#: Seconds for which a connection may lie unused. Node.js closes after 5 s: so we mostly close first.
IDLE_SECONDS: Final = 4.0
#: Seconds between two tries to connect to a Unix socket whose queue is full: the kernel tells no moment to try again.
QUEUE_PAUSE: Final = 0.02


class ForwardedRequest(Protocol):
    """What an upstream connection tells the request that it carries."""

    method: bytes
    upgrades: bool  # it has asked to switch protocols, so a 101 may answer it

    def answer(self, head: AnswerHead, body: bytes, complete: bool) -> None:
        """The final answer's head, with the body bytes that came with it."""

    def interim(self, head: AnswerHead) -> None:
        """A 1xx answer; the final one is still to come."""

    def switched(self, head: AnswerHead, data: bytes) -> None:
        """A 101: from now on ``answer_body`` gets whatever comes (``complete``: no more); ``data`` came with it.

        Raises ``WireError`` where it does not answer what was asked.
        """

    def answer_body(self, body: bytes, complete: bool) -> None:
        """More of the answer's body."""

    def upstream_broken(self, connection: UpstreamConnection, error: WireError | None) -> None:
        """The connection is gone (``error`` None) or its bytes cannot be read, before the answer was complete."""

    def upstream_clogged(self) -> None:
        """The server reads more slowly than the request comes."""

    def upstream_drained(self) -> None:
        """All bytes written so far have reached the kernel."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to one server. The pool gives it out; whoever took it sets ``carried`` before writing."""

    __slots__ = (
        "_chunks",
        "_held",
        "_in_body",
        "_interim",
        "_last_answer",
        "_last_head",
        "_last_method_is_head",
        "_left",
        "_poll",
        "_reusable",
        "address",
        "carried",
        "deaf",
        "heard",
        "idle_since",
        "paused",
        "pool",
        "reused",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport = cast(asyncio.Transport, None)
        self.carried: ForwardedRequest | None = None
        self.address = ""  # which of the server's it is to
        self.paused = False
        self.deaf = False  # we do not read at present
        self.reused = False
        self.heard = False  # a byte of the present answer has arrived
        self.idle_since = 0.0
        self._poll = select.poll()
        self._held = b""  # an unfinished head
        self._in_body = False
        self._reusable = True
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._interim = 0
        self._last_head = b""
        self._last_method_is_head = False
        self._last_answer: AnswerHead | None = None

    # -- what happens on the wire ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        """Bytes from the server."""
        carried = self.carried
        if carried is None:
            # Nobody asked: whatever it is, it must not become the next request's answer.
            self.abort()
            return
        self.heard = True
        try:
            if self._in_body:
                body, complete = self._take_body(data)
                carried.answer_body(body, complete)
            else:
                self._read_heads(carried, data)
        except WireError as error:
            self._reusable = False
            carried.upstream_broken(self, error)

    def eof_received(self) -> bool:
        """The server closed its side: the end of a body that lasts until then, or of a promise."""
        self._reusable = False
        carried = self.carried
        if carried is not None and self._in_body and self._left == UNTIL_CLOSE and self._chunks is None:
            self._in_body = False
            carried.answer_body(b"", True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by whichever side."""
        self._reusable = False
        if self.carried is not None:
            self.carried.upstream_broken(self, None)
        self.pool.lost(self)

    def pause_writing(self) -> None:
        """Bytes are left that the kernel did not take."""
        self.paused = True
        if self.carried is not None:
            self.carried.upstream_clogged()

    def resume_writing(self) -> None:
        """All has reached the kernel."""
        self.paused = False
        if self.carried is not None:
            self.carried.upstream_drained()

    # -- answers --------------------------------------------------------------------------------

    def _read_heads(self, carried: ForwardedRequest, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._hold(data)
                return
            if end > MAX_ANSWER_HEAD:
                raise WireError(Fault.HEAD_TOO_LARGE, "The answer's head is too large.")
            head = self._read_head(data[:end], carried.method == b"HEAD")
            data = data[end:]
            if head.status >= 200:
                break
            if head.status == 101:
                self._switch(carried, head, data)
                return
            self._read_interim(carried, head)
            if self.carried is not carried:
                return
        self._reusable = self._reusable and head.reusable
        self._left = head.content_length
        self._chunks = ChunkedReader() if head.chunked else None
        self._in_body = True
        body, complete = self._take_body(data) if data or not self._left else (b"", False)
        carried.answer(head, body, complete)

    def _hold(self, data: bytes) -> None:
        """Keep an unfinished head. Copied anew with each piece: heads are short and servers are not attackers."""
        if len(data) > MAX_ANSWER_HEAD:
            raise WireError(Fault.HEAD_TOO_LARGE, "The answer's head is too large.")
        if not b"HTTP/1."[: len(data)] == data[:7]:
            raise WireError(Fault.MALFORMED, "The answer is not HTTP/1.1.")
        self._held = data

    def _read_head(self, block: bytes, to_head: bool) -> AnswerHead:
        """The answer head in ``block``; a server that repeats one does not have it parsed again."""
        if block == self._last_head and to_head is self._last_method_is_head and self._last_answer is not None:
            return self._last_answer
        answer = read_answer_head(block, to_head=to_head)
        if len(block) <= REMEMBERED_HEAD:
            self._last_head, self._last_method_is_head, self._last_answer = block, to_head, answer
        return answer

    def _read_interim(self, carried: ForwardedRequest, head: AnswerHead) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise WireError(Fault.MALFORMED, "The server sends interim answers without end.")
        carried.interim(head)

    def _switch(self, carried: ForwardedRequest, head: AnswerHead, data: bytes) -> None:
        if not carried.upgrades:
            raise WireError(Fault.MALFORMED, "The server switched protocols unasked.")
        self._reusable = False
        self._in_body = True
        self._left = UNTIL_CLOSE
        carried.switched(head, data)

    def _take_body(self, data: bytes) -> tuple[bytes, bool]:
        """Body bytes in ``data`` and whether the body is complete. What comes after it spoils the connection."""
        if self._chunks is not None:
            body = self._chunks.feed(data)
            if self._chunks.done:
                self._end_body(bool(self._chunks.rest))
                self._chunks = None
                return body, True
            return body, False
        left = self._left
        if left == UNTIL_CLOSE:
            return data, False
        size = len(data)
        if size < left:
            self._left = left - size
            return data, False
        self._end_body(size > left)
        return data[:left], True

    def _end_body(self, surplus: bool) -> None:
        self._in_body = False
        self._left = 0
        if surplus:
            self._reusable = False

    # -- what the carried request does ----------------------------------------------------------

    def silent(self) -> bool:
        """Nothing has arrived that nobody asked for, and the server has not closed."""
        return self._reusable and not self._poll.poll(0)

    def pause(self) -> None:
        """Read no more for now: who gets the answer reads slowly."""
        self.deaf = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self.deaf = False
        self.transport.resume_reading()

    def release(self, clean: bool) -> None:
        """Give the connection back: to the pool after a complete exchange (``clean``), else it is cut."""
        self.carried = None
        if clean and self._reusable and not self.paused and not self._in_body and not self.transport.is_closing():
            if self.deaf:  # since the answer's last piece: nobody else would ever have it read on
                self.resume()
            self.heard = False
            self.reused = True
            self._interim = 0
            self.pool.put_back(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection: the server sees that its request has gone."""
        self.carried = None
        self._reusable = False
        self.transport.abort()
        self.pool.lost(self)


class Pool:
    """The connections to one server: ``host`` and ``port``; ``connect_timeout`` and ``resolve_every`` in seconds."""

    #: The server's name as JSON, from whoever has given it one.
    quoted_name = b"null"

    def __init__(self, host: str, port: int, connect_timeout: float, resolve_every: float = 30.0) -> None:
        self.host = host
        self.port = port
        self.connect_timeout = connect_timeout
        self.addresses = Addresses(host, resolve_every)
        self.closed = False
        #: Called when there is room for one more; never where nobody counts.
        self.freed: Callable[[], None] = _nobody
        #: Not every connection is kept any more: the pool is closed, or an address has gone from the server's name.
        self._drains = False
        self._idle: list[UpstreamConnection] = []
        self._loop = asyncio.get_running_loop()

    def take(self) -> UpstreamConnection | None:
        """A connection that is ready, the one used last first; None when there is none."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.silent():
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection, to the first of the server's addresses that takes it. Raises ``OSError``.

        ``TimeoutError`` is one. All addresses together have ``connect_timeout``, each its share of what is left.
        """
        give_up = self._loop.time() + self.connect_timeout
        async with asyncio.timeout(self.connect_timeout):
            addresses = await self.addresses.in_turn()
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                connection = await self._open(address, max(0.0, give_up - self._loop.time()) / left)
            except OSError:
                self.addresses.failed(address)
                if left == 1:
                    raise
            else:
                connection.address = address
                return connection
        raise ConnectionError(f"{self.host} has no address")

    async def _open(self, address: str, within: float) -> UpstreamConnection:
        async with asyncio.timeout(within):
            _, connection = await self._loop.create_connection(lambda: UpstreamConnection(self), address, self.port)
        return connection

    def put_back(self, connection: UpstreamConnection) -> None:
        """A connection after a clean exchange."""
        if self._drains and (self.closed or connection.address not in self.addresses.known):
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    @property
    def in_flight(self) -> int:
        """Connections in use or being made; 0 where nobody counts."""
        return 0

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    def lost(self, connection: UpstreamConnection) -> None:
        """A connection has ended; told at least once of each. Nothing to do where nobody counts."""

    def reserve(self) -> None:
        """A connection is going to be made. Nothing to do where nobody counts."""

    def unreserve(self) -> None:
        """It has been made, or not. Nothing to do where nobody counts."""

    async def look_up(self) -> None:
        """Look the server's name up again; connections to addresses that it has lost are closed after their use."""
        try:
            gone = await self.addresses.refresh()
        except OSError:
            return  # none is known; that has been logged, and whoever connects is told
        if gone:
            self._drains = True
            known = self.addresses.known
            idle, self._idle = self._idle, [one for one in self._idle if one.address in known]
            for connection in idle:
                if connection.address not in known:
                    connection.abort()

    def close_unused(self, now: float) -> None:
        """Close what has lain unused for long, and what its server has closed; once a second."""
        kept: list[UpstreamConnection] = []
        for connection in self._idle:
            if now - connection.idle_since < IDLE_SECONDS and connection.silent():
                kept.append(connection)
            else:
                connection.abort()
        self._idle = kept

    def close(self) -> None:
        """Close every unused connection, and each other one when it has been used."""
        self.closed = self._drains = True
        while self._idle:
            self._idle.pop().abort()


class UnixPool(Pool):
    """The connections to what listens on the Unix socket at ``path``.

    The socket outlives whoever answers on it: a connection made while nobody does waits in its queue, and so does
    the request written to it.
    """

    def __init__(self, path: Path, connect_timeout: float) -> None:
        super().__init__("::", 0, connect_timeout)  # no name that anybody would look up
        self._path = path

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises ``TimeoutError`` (the queue stays full) or another ``OSError``."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(self.connect_timeout):
                while not self._connected(opened):  # noqa: ASYNC110 - the kernel tells of no moment to wait for
                    await asyncio.sleep(QUEUE_PAUSE)
                _, connection = await self._loop.create_unix_connection(lambda: UpstreamConnection(self), sock=opened)
            connection.address = self.addresses.host
        except BaseException:  # a time-out and a cancellation among them: nobody else knows the socket
            opened.close()
            raise
        return connection

    def _connected(self, opened: socket.socket) -> bool:
        """Connect now; False where the queue is full (unix(7): EAGAIN)."""
        try:
            with unix.short(self._path) as place:
                opened.connect(place)
        except BlockingIOError:
            return False
        return True


class Counted:
    """What a pool needs besides so that it is known how many requests its server has; before the pool's own class.

    A connection counts from when it is given out until it is put back or lost, and before that while it is being
    made. Both are sets of what is there, not a number that could be counted down twice.
    """

    freed: Callable[[], None]

    def __init__(self, *of_the_pool: Any) -> None:
        super().__init__(*of_the_pool)
        self._out: set[UpstreamConnection] = set()
        self._reserved = 0

    @property
    def in_flight(self) -> int:
        """Connections in use or being made."""
        return len(self._out) + self._reserved

    def take(self) -> UpstreamConnection | None:
        """As the pool's own."""
        connection: UpstreamConnection | None = super().take()  # type: ignore[misc]  # the pool's, which comes after
        if connection is not None:
            self._out.add(connection)
        return connection

    async def connect(self) -> UpstreamConnection:
        """As the pool's own."""
        connection: UpstreamConnection = await super().connect()  # type: ignore[misc]  # as in take
        self._out.add(connection)
        return connection

    def put_back(self, connection: UpstreamConnection) -> None:
        """As the pool's own."""
        super().put_back(connection)  # type: ignore[misc]  # as in take
        self.lost(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """It counts no more."""
        if connection in self._out:
            self._out.discard(connection)
            self.freed()

    def reserve(self) -> None:
        """One is going to be made: it counts from now on, before anything is awaited."""
        self._reserved += 1

    def unreserve(self) -> None:
        """It has been made and counts by itself, or could not be."""
        self._reserved -= 1
        self.freed()


def _nobody() -> None:
    """Nobody waits."""


class CountedPool(Counted, Pool):
    """A pool that counts."""


class CountedUnixPool(Counted, UnixPool):
    """A pool of a Unix socket that counts."""
