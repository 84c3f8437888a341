"""A WebSocket: what an exchange becomes when both sides have switched protocols.

Law: bytes are copied both ways as they are, with back-pressure and never collected; nothing is parsed. The
exchange goes on all the while: it holds its slot, and ends where every exchange ends.

A tunnel ends when the upstream closes, when either side breaks, when the client leaves, when no byte has
moved for long, when its whole time is over, when the relay stops, and when its key would not open it any
more: keys are asked once a second, since nothing else would ever ask again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystile.relay.admit import still_admitted
from keystile.relay.end import end
from keystile.relay.refusal import Refusal
from keystile.wire.answer_head import AnswerHead
from keystile.wire.faults import Fault, WireError
from keystile.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange

#: Seconds in which the server must have ended as well after the client has sent its last byte.
HALF_CLOSED_SECONDS: Final = 10.0


class Tunnel:
    """Implements ``ServedRequest``, ``wire.application.Tunnel`` and ``ForwardedRequest``."""

    answered = False
    upgrades = False
    method = b"GET"

    def __init__(self, exchange: Exchange, upstream: UpstreamConnection) -> None:
        gateway = exchange.gateway
        self.exchange = exchange
        self.client = exchange.client
        self.upstream = upstream
        self._moved = gateway.clock.now
        self._over = self._moved + gateway.websocket_time
        gateway.tunnels.add(self)
        gateway.recorder.tunnels_opened += 1
        gateway.recorder.tunnels_open += 1
        self._set_due()

    # -- bytes ------------------------------------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        """Bytes from the client."""
        self.exchange.bytes_in += len(data)
        self._moved = self.exchange.gateway.clock.now
        self.upstream.transport.write(data)

    def answer_body(self, body: bytes, complete: bool) -> None:
        """Bytes from the server; ``complete``: it sends no more (no end is read while we pause)."""
        if body:
            self.exchange.bytes_out += len(body)
            self._moved = self.exchange.gateway.clock.now
            self.client.write(body)
        if complete:
            self.end(None)

    def client_clogged(self) -> None:
        """The client reads slowly: so do we."""
        self.upstream.pause()

    def client_drained(self) -> None:
        """The client has read all."""
        self.upstream.resume()

    def upstream_clogged(self) -> None:
        """The server reads slowly: so do we."""
        self.client.pause()

    def upstream_drained(self) -> None:
        """The server reads again."""
        self.client.resume()

    def held_bytes(self) -> int:
        """Bytes that wait in memory for the server."""
        return self.upstream.transport.get_write_buffer_size() if self.upstream.paused else 0

    # -- ends -------------------------------------------------------------------------------------

    def client_done(self) -> bool:
        """The client sends no more: the server is told, and may answer on. TLS knows no such half."""
        if self.client.peer.tls is not None or not self.upstream.transport.can_write_eof():
            self.end(None)
            return False
        self.upstream.transport.write_eof()
        clock = self.exchange.gateway.clock
        self._over = min(self._over, clock.now + clock.after(HALF_CLOSED_SECONDS))
        self._set_due()
        return True

    def client_gone(self) -> None:
        """The client left, or the relay stops."""
        self.client.abort()
        self.end(None)

    def upstream_broken(self, connection: UpstreamConnection, error: WireError | None) -> None:
        """The server's connection is gone."""
        self.end(None)

    def look(self) -> None:
        """Once a second: would the key still open it?"""
        refusal = still_admitted(self.exchange.gateway, self.exchange)
        if refusal is not None:
            self.end(refusal)

    def out_of_time(self) -> None:
        """Its whole time is over, or nothing has moved for long; or bytes have moved since we last looked."""
        gateway = self.exchange.gateway
        if gateway.clock.now < min(self._over, self._moved + gateway.websocket_idle_time):
            self._set_due()
        else:
            self.end(Refusal.OUT_OF_TIME)

    def _set_due(self) -> None:
        self.client.due = min(self._over, self._moved + self.exchange.gateway.websocket_idle_time)

    def end(self, why: Refusal | None) -> None:
        """End it; ``why``: what the gateway ended it for, None where one of the sides has ended."""
        exchange = self.exchange
        if exchange.ended:
            return
        exchange.gateway.tunnels.discard(self)
        exchange.gateway.recorder.tunnels_open -= 1
        self.upstream.carried = None
        if self.upstream.paused or why is not None:
            self.upstream.abort()
        else:
            self.upstream.transport.close()  # what was written leaves before
        exchange.refusal = why
        exchange.cut = why is not None
        end(exchange)

    # -- what cannot happen here, since nothing is parsed -------------------------------------------

    def body(self, data: bytes, complete: bool) -> None:
        """A tunnel has no body."""
        raise WireError(Fault.MALFORMED, "There are no bodies in a tunnel.")

    def broken(self, error: WireError) -> None:
        """A tunnel has no body."""
        raise error

    def answer(self, head: AnswerHead, body: bytes, complete: bool) -> None:
        """A tunnel has no answers."""
        raise WireError(Fault.MALFORMED, "There are no answers in a tunnel.")

    def interim(self, head: AnswerHead) -> None:
        """A tunnel has no answers."""
        raise WireError(Fault.MALFORMED, "There are no answers in a tunnel.")

    def switched(self, head: AnswerHead, data: bytes) -> None:
        """A tunnel has no answers."""
        raise WireError(Fault.MALFORMED, "There are no answers in a tunnel.")

    def be_the_last(self) -> None:
        """Nothing follows on a tunnel's connection; and what came by an old version of TLS ends with it."""
        self.end(Refusal.TLS_TOO_OLD)

    def sends_too_slowly(self) -> None:
        """Nobody owes bytes in a tunnel."""

    def reads_too_slowly(self) -> None:
        """Nobody owes bytes in a tunnel; what nobody reads stops moving."""
