"""TLS of one accepted connection: between the loop's plain transport and a protocol that knows nothing of TLS.

Law: bytes in, bytes out, and the handshake's time; who may come in, and with which certificate, is decided by the
context (``tls_gate.py``). To the loop it is a protocol, to the protocol above a transport.

Why not the loop's own: uvloop's costs 25 µs a request where encrypting itself costs 2 (it reads until OpenSSL says that
there is no more, which is an exception each time, and buffers in between), it keeps tens of KiB for an idle connection,
and it drops the alert of a refused handshake (docs/performance.md).

Closing says so (close_notify) and does not wait for the same from the peer (RFC 8446 section 6.1).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from keystile.wire.tls_gate import Gate, GateObject
from keystile.wire.turns import LONG_READ, long_read

#: Bytes that OpenSSL is given at once, encrypted and plain: the buffers between grow to this and stay with the
#: connection. Smaller pieces cost more CPU.
SLICE_IN: Final = 16 * 1024
SLICE_OUT: Final = 32 * 1024
#: The longest piece of plain text in one record (RFC 8446 section 5.1): a read takes a whole one.
RECORD: Final = 16 * 1024
#: Bytes that OpenSSL may say by itself while the peer does not read: answers to its KeyUpdates, mostly (RFC 8446
#: section 4.6.3), of which it may ask for any number.
OWN_BOUND: Final = 16 * 1024
#: What ``get_extra_info`` is asked for: bytes that have come and nobody has read, encrypted as they are.
UNREAD: Final = "unread"
#: Seconds for which a refused client may read why before its connection is cut.
REFUSED_SECONDS: Final = 2.0

# Plain numbers, as in ``client.py``.
_SHAKING: Final = 0
_OPEN: Final = 1
_REFUSED: Final = 2
_CLOSING: Final = 3
_LOST: Final = 4


@dataclass(frozen=True, slots=True)
class Securing:
    """What a listener's connections begin with. ``seconds``: how long a handshake may take."""

    gate: Gate
    seconds: float


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """``above`` is told of a connection when the handshake is done, and of nothing where it never is.

    ``settled`` is done when the handshake is, or the connection has ended before. ``deaf`` and
    ``row`` are as for any ``turns.Reader``.
    """

    __slots__ = (
        "_above",
        "_decrypt",
        "_drain",
        "_encrypt",
        "_feed",
        "_incoming",
        "_loop",
        "_object",
        "_outgoing",
        "_own",
        "_raw",
        "_seconds",
        "_send",
        "_state",
        "_timer",
        "deaf",
        "row",
        "settled",
    )

    def __init__(self, above: asyncio.Protocol, securing: Securing, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._above = above
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Bound once: they are called for every request.
        self._feed, self._drain = self._incoming.write, self._outgoing.read
        self._object = GateObject(securing.gate, self._incoming, self._outgoing)
        self._decrypt: Callable[[int], bytes] = self._object.read
        self._encrypt: Callable[[bytes | bytearray | memoryview], int] = self._object.write
        self._seconds = securing.seconds
        self._raw = cast(asyncio.Transport, None)
        self._timer: asyncio.TimerHandle | None = None
        self._state = _SHAKING
        self.deaf = False
        self.row = 0
        self._own = -1  # while the peer does not read: bytes of our own since it does not
        self.settled: asyncio.Future[None] = loop.create_future()

    # -- what happens on the wire -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted: the handshake's time begins."""
        self._raw = cast(asyncio.Transport, transport)
        self._send = self._raw.write
        self._timer = self._loop.call_later(self._seconds, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Records, or parts of them."""
        if self._state == _OPEN and len(data) <= SLICE_IN:
            self._feed(data)
            self._read()
            return
        if len(data) >= LONG_READ:
            long_read(self, self._raw)
        for start in range(0, len(data), SLICE_IN):
            self._take(data[start : start + SLICE_IN])

    def _take(self, data: bytes) -> None:
        if self._state == _OPEN:
            self._feed(data)
            self._read()
        elif self._state == _SHAKING:
            self._feed(data)
            self._shake()
        # After a refusal or our end nobody reads.

    def eof_received(self) -> bool:
        """The client sends no more; the loop closes."""
        if self._state == _OPEN:
            self._above.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by whichever side."""
        made = self._state in (_OPEN, _CLOSING)
        self._state = _LOST
        self._stop_timer()
        above, self._above = self._above, _NOBODY  # no circle is left behind
        if made:
            above.connection_lost(exc)
        self._settle()

    def pause_writing(self) -> None:
        """Bytes are left that the kernel did not take."""
        self._own = 0
        if self._state == _OPEN or self._state == _CLOSING:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """All has reached the kernel."""
        self._own = -1
        if self._state == _OPEN or self._state == _CLOSING:
            self._above.resume_writing()

    # -- the handshake ----------------------------------------------------------------------------

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if self._object.refused:
                self._refuse()
            return
        self._flush()
        self._stop_timer()
        self._decrypt, self._encrypt = self._object.chosen.read, self._object.chosen.write
        self._state = _OPEN
        self._above.connection_made(self)
        self._settle()
        self._read_on()

    def _refuse(self) -> None:
        """The alert is on its way; a close with unread bytes would make it a reset."""
        self._state = _REFUSED
        self._stop_timer()
        self._timer = self._loop.call_later(REFUSED_SECONDS, self._raw.abort)
        self._raw.write_eof()

    def _too_slow(self) -> None:
        self._state = _REFUSED
        self._object.too_slow()
        self._raw.abort()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    # -- bytes ------------------------------------------------------------------------------------

    def _read(self) -> None:
        incoming = self._incoming
        while self._state == _OPEN and not self.deaf:
            try:
                data = self._decrypt(RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                # A record that is none, or a fatal alert: nothing that follows can be believed.
                self._flush()
                self._raw.abort()
                return
            if not data:
                if not self._above.eof_received():
                    self.close()
                return
            self._above.data_received(data)
            if not incoming.pending:
                break  # else OpenSSL would say so by an exception, which costs more than the request's bytes
        if self._outgoing.pending:
            self._say_own()

    def _say_own(self) -> None:
        """What nobody above has written. Who makes us talk has to listen."""
        if self._own >= 0:
            self._own += self._outgoing.pending
            if self._own > OWN_BOUND:
                self._raw.abort()
                return
        self._flush()

    def _read_on(self) -> None:
        """What came while nobody read, or together with the end of the handshake."""
        if self._incoming.pending:
            self._read()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._send(self._drain())

    # -- what the protocol above does ---------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send plain text."""
        if self._state != _OPEN or not data:
            return
        try:
            if len(data) <= SLICE_OUT:
                self._encrypt(data)
                self._send(self._drain())
                return
            view = memoryview(data)
            for start in range(0, len(data), SLICE_OUT):
                self._encrypt(view[start : start + SLICE_OUT])
                self._send(self._drain())
        except ssl.SSLError:
            self._raw.abort()  # the peer has broken the connection: nothing can be encrypted for it any more

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send plain text that lies in pieces."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Say that this is all, and close when it has left."""
        if self._state == _OPEN:
            self._state = _CLOSING
            self._say_goodbye()
            self._raw.close()
        elif self._state == _SHAKING and self._raw is not None:
            self._raw.abort()

    def write_eof(self) -> None:
        """Say that this is all, and send nothing after it; what still comes is not read, and the peer's end closes."""
        if self._state == _OPEN:
            self._state = _CLOSING
            self._say_goodbye()
            self._raw.write_eof()
            if self.deaf:
                self.deaf = False
                self._raw.resume_reading()

    def _say_goodbye(self) -> None:
        with suppress(ssl.SSLError):  # SSLWantReadError: the peer has not said the same yet, and need not
            self._object.unwrap()
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._raw is not None:
            self._raw.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._state != _OPEN or self._raw.is_closing()

    def pause_reading(self) -> None:
        """Hand nothing up; what has come already is held (one reading of the loop at most)."""
        self.deaf = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self.deaf:
            self.deaf = False
            self._raw.resume_reading()
            if self._incoming.pending:
                self._loop.call_soon(self._read_on)

    def can_write_eof(self) -> bool:
        """One direction alone is not closed: an end is both's."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As of the plain transport: encrypted bytes count."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that the kernel has not taken."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``ssl_object``, ``UNREAD``, and whatever the plain transport knows."""
        if name == UNREAD:
            return self._incoming.pending
        return self._object if name == "ssl_object" else self._raw.get_extra_info(name, default)


_NOBODY: Final = asyncio.Protocol()
