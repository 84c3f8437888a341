"""A connection to an upstream's server: one answer at a time.

Law: bytes, framing and order; it is given back only after a complete, clean
exchange. Anything else closes it: the next answer would belong to somebody
else. Whose request it carries, this file does not know.

As with clients, the write buffer's limit is zero: ``paused`` means exactly that
bytes of the request have not reached the kernel yet.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, Protocol, cast

from keystile.wire.answer_head import UNTIL_CLOSE, AnswerHead, Pattern, pattern_of, read_answer_head
from keystile.wire.faults import Fault, WireError
from keystile.wire.framing import ChunkedReader
from keystile.wire.turns import LONG_READ, long_read

if TYPE_CHECKING:
    from keystile.wire.pool import Pool

#: Bytes that an answer's head may have.
MAX_ANSWER_HEAD: Final = 64 * 1024
#: Answer heads longer than this are parsed anew each time.
REMEMBERED_HEAD: Final = 2048
#: Interim answers (1xx) that may come before the final one.
MAX_INTERIM: Final = 16


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
        "_pattern",
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
        "row",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport = cast(asyncio.Transport, None)
        self.carried: ForwardedRequest | None = None
        self.address = ""  # which of the server's it is to
        self.paused = False
        self.deaf = False  # we do not read at present
        self.row = 0  # long reads since it last let others go first
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
        self._pattern: Pattern | None = None  # of the last head that was read, where the request was no HEAD

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
                if len(data) >= LONG_READ:
                    long_read(self, self.transport)
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
        """The answer head in ``block``; a server that repeats one, but for a length, does not have it parsed again."""
        if block == self._last_head and to_head is self._last_method_is_head and self._last_answer is not None:
            return self._last_answer
        answer = None if self._pattern is None or to_head else self._pattern.read(block)
        if answer is None:
            answer = read_answer_head(block, to_head=to_head)
            self._pattern = pattern_of(block, answer) if not to_head and len(block) <= REMEMBERED_HEAD else None
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
