"""The gateway's part in a trace (W3C Trace Context): only where the settings say ``trace: begin``.

Law: an exchange that has ids of its own. It goes on with the trace that came, or begins one; what the API behind is
told is that the gateway has called it. Where the settings do not say so, no exchange is of this class.

Ids are no secrets and have to be different, not hard to guess: they come from a generator that is seeded by the
system's at the start of each relay.
"""

from __future__ import annotations

from random import getrandbits
from typing import TYPE_CHECKING, Final

from keystile.relay.admit import Note
from keystile.relay.exchange import Exchange
from keystile.wire.client import ClientConnection
from keystile.wire.request_fields import RequestFields

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway

#: Of a trace id, the bits by which it is decided whether a trace that begins here is recorded.
_DECIDING: Final = (1 << 56) - 1


class TracedExchange(Exchange):
    """See the module."""

    __slots__ = ("_is_sampled", "_span_id", "_trace_id")

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
        super().__init__(gateway, client, method, target, fields, note, request_id)
        self._trace_id = self._span_id = b""
        self._is_sampled = False

    def trace_id(self) -> bytes:
        """Of the trace that came, or of the one that begins with this request."""
        if not self._span_id:
            self._take_part()
        return self._trace_id

    def span_id(self) -> bytes:
        """Its own: the same however often its head is sent."""
        if not self._span_id:
            self._take_part()
        return self._span_id

    def is_recorded(self) -> bool:
        """Whether its trace is recorded."""
        if not self._span_id:
            self._take_part()
        return self._is_sampled

    def _take_part(self) -> None:
        came = self.fields.trace
        self._span_id = b"%016x" % (getrandbits(64) or 1)
        if came is not None and came.traceparent:
            self._trace_id, self._is_sampled = came.trace_id, came.is_sampled
        else:
            number = getrandbits(128) or 1
            self._trace_id = b"%032x" % number
            self._is_sampled = number & _DECIDING < self.gateway.sampled_share * (_DECIDING + 1)

    def _block(self) -> bytes:
        """As every exchange's, and the trace. Bits of the flags that mean nothing to us are not passed on (3.2.3)."""
        came = self.fields.trace
        line = b"traceparent: 00-%b-%b-0%d\r\n" % (self.trace_id(), self.span_id(), self._is_sampled)
        if came is not None and came.tracestate:
            line += b"tracestate: %b\r\n" % came.tracestate
        return super()._block() + line
