"""What a client's connection asks of what stands above it, and tells the request or the tunnel that it serves.

Law: shapes and no code. Whoever implements them: the relay (``relay/gateway.py``, ``exchange.py``, ``tunnel.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from keystile.limits.crowd import Crowd
from keystile.limits.deadlines import CoarseClock
from keystile.limits.pace import Floor
from keystile.wire.faults import WireError
from keystile.wire.peer import Peer
from keystile.wire.request_fields import RequestFields
from keystile.wire.request_head import RequestHeadReader

if TYPE_CHECKING:
    from keystile.wire.client import ClientConnection


class ServedRequest(Protocol):
    """What a connection tells the request that it is serving. ``answered``: the whole answer is there."""

    answered: bool

    def body(self, data: bytes, complete: bool) -> None:
        """Body bytes have arrived (may be empty when ``complete``)."""

    def broken(self, error: WireError) -> None:
        """The body cannot be read any further."""

    def client_gone(self) -> None:
        """The client has closed or reset the connection."""

    def client_drained(self) -> None:
        """All bytes written so far have reached the kernel."""

    def client_clogged(self) -> None:
        """The client reads more slowly than the answer comes."""

    def out_of_time(self) -> None:
        """The request's total time is over."""

    def sends_too_slowly(self) -> None:
        """The body comes more slowly than it must."""

    def reads_too_slowly(self) -> None:
        """The answer is read more slowly than it must."""

    def held_bytes(self) -> int:
        """Bytes that wait in memory for the upstream."""

    def be_the_last(self) -> None:
        """No request may follow on its connection."""


class Tunnel(Protocol):
    """What a connection tells the tunnel that its request has become."""

    def from_client(self, data: bytes) -> None:
        """Bytes, whatever they mean."""

    def client_done(self) -> bool:
        """The client sends no more; whether it may still be sent to."""


class Bounds(NamedTuple):
    """What a request is held to until its end. ``request_timeout``: seconds."""

    max_body_size: int
    body_floor: Floor | None  # under the rate at which a body must come
    answer_floor: Floor | None  # under the rate at which an answer must be read
    request_timeout: float


class Application(Protocol):
    """What stands above connections."""

    clock: CoarseClock
    head_time: float  # what ``due`` is set to, counted from ``clock.now``
    request_time: float
    idle_time: float
    reader: RequestHeadReader
    max_head_size: int
    max_body_size: int
    body_floor: Floor | None  # under the rate at which a body must come
    answer_floor: Floor | None  # under the rate at which an answer must be read
    crowd: Crowd
    connections: set[ClientConnection]

    def begin(self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields) -> None:
        """A request's head has been read; ``client.first`` holds the body bytes that came with it.

        Where it announces a body, ``client.fault`` says what is wrong with those, if anything is.
        """

    def reject(self, client: ClientConnection, method: bytes, error: WireError) -> None:
        """No request can be read (``method``: what is known of it, or ``-``): answer, and end the connection."""

    def meet(self, client: ClientConnection) -> Peer:
        """Who is calling: by its transport, and by what a trusted proxy ``announced`` first, where it has to."""

    def turn_away(self, client: ClientConnection) -> None:
        """One connection too many, of its address or in all: say so in a word, and close it."""
