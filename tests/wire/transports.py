"""Connections without sockets: a transport that keeps what happens to it, and the two sides' counterparts.

With these, bytes are handed over in exactly the pieces that a test wants, and whatever a callback raises is seen.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from keystile.limits.crowd import Crowd
from keystile.limits.deadlines import CoarseClock
from keystile.limits.pace import Floor
from keystile.wire.answer_head import AnswerHead
from keystile.wire.client import ANSWER, ClientConnection
from keystile.wire.faults import WireError
from keystile.wire.peer import Peer, parse_address
from keystile.wire.pool import Pool
from keystile.wire.request_fields import RequestFields
from keystile.wire.request_head import RequestHeadReader
from keystile.wire.upstream import UpstreamConnection

ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class KeptTransport(asyncio.Transport):
    """Writes go to ``sent``; ``ended`` says how the connection ended, ``eof`` that our side has."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__()
        self.sent = b""
        self.ended = ""
        self.eof = False
        self.reading = True
        self._sock = sock

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "socket": self._sock}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "a write after the end"
        self.sent += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        assert not self.ended
        self.eof = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def how(self) -> str:
        """How the connection ended, or the empty string."""
        return self.ended

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


class KeptRequest:
    """A request as the application sees it. It is answered as soon as its body is complete."""

    def __init__(self, application: KeepingApplication, client: ClientConnection, line: bytes, fields: RequestFields):
        self.application = application
        self.client = client
        self.line = line
        self.fields = fields
        self.received = b""
        self.complete = False
        self.answered = False
        self.too_slow = ""

    def body(self, data: bytes, complete: bool) -> None:
        assert not self.complete, "more of a body that was complete"
        self.received += data
        if complete:
            self.complete = True
            self.application.complete(self)

    def broken(self, error: WireError) -> None:
        self.application.refuse(self.client)

    def client_gone(self) -> None:
        self.client.served = None

    def client_drained(self) -> None: ...

    def client_clogged(self) -> None: ...

    def out_of_time(self) -> None:
        self.application.refuse(self.client)

    def sends_too_slowly(self) -> None:
        self.too_slow = "sends"

    def reads_too_slowly(self) -> None:
        self.too_slow = "reads"

    def held_bytes(self) -> int:
        return 0

    def be_the_last(self) -> None: ...


class KeepingApplication:
    """Implements ``wire.application.Application``. ``requests``: the whole ones; ``holds``: they are not answered."""

    def __init__(self, *, holds: bool = False, max_head_size: int = 2048, max_body_size: int = 1 << 40) -> None:
        self.clock = CoarseClock(1.0)
        self.clock.now = 1000.0
        self.head_time = 10.0
        self.request_time = 600.0
        self.idle_time = 75.0
        self.reader = RequestHeadReader(withheld=["X-Api-Key"], max_fields=20)
        self.max_head_size = max_head_size
        self.max_body_size = max_body_size
        self.body_floor: Floor | None = None
        self.answer_floor: Floor | None = None
        self.crowd = Crowd(1000, 1000)
        self.turned_away = 0
        self.connections: set[ClientConnection] = set()
        self.requests: list[tuple[bytes, bytes, bytes]] = []
        self.refusals = 0
        self.faults: list[WireError] = []
        self.holds = holds
        self.held: list[KeptRequest] = []

    def begin(self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields) -> None:
        assert not self.refusals, "a request behind one that was refused"
        assert client.served is None, "two requests at once"
        request = KeptRequest(self, client, method + b" " + target, fields)
        client.served = request
        if not fields.chunked and fields.content_length <= 0:
            request.body(b"", True)
        elif client.fault is None:
            request.body(client.first, client.state == ANSWER)
        else:
            self.faults.append(client.fault)
            self.refuse(client)

    def complete(self, request: KeptRequest) -> None:
        fields = request.fields
        framing = b"chunked" if fields.chunked else b"%d" % fields.content_length
        self.requests.append((request.line, fields.kept + framing + b" " + fields.host, request.received))
        if self.holds:
            self.held.append(request)
        else:
            self.answer(request)

    def answer(self, request: KeptRequest) -> None:
        request.answered = True
        request.client.write(ANSWERED)
        request.client.finished(request.fields.keep_alive and request.client.state == ANSWER)

    def reject(self, client: ClientConnection, method: bytes, error: WireError) -> None:
        self.faults.append(error)
        self.refuse(client)

    def refuse(self, client: ClientConnection) -> None:
        self.refusals += 1
        assert self.refusals == 1, "refused twice"
        client.write(REFUSED)
        client.finished(False)

    def meet(self, client: ClientConnection) -> Peer:
        return Peer("127.0.0.1", ip=parse_address("127.0.0.1"), slot=b"client")

    def turn_away(self, client: ClientConnection) -> None:
        self.turned_away += 1
        client.transport.close()


def connected(application: KeepingApplication) -> tuple[ClientConnection, KeptTransport]:
    """A client's connection that has just been accepted."""
    client, transport = ClientConnection(application), KeptTransport()
    client.connection_made(transport)
    return client, transport


class KeptAnswer:
    """Implements ``wire.upstream.ForwardedRequest``: keeps the answer, and gives the connection back at its end."""

    def __init__(self, connection: UpstreamConnection, method: bytes = b"GET") -> None:
        self.connection = connection
        self.method = method
        self.upgrades = False
        self.interims: list[int] = []
        self.head: AnswerHead | None = None
        self.received = b""
        self.outcome = "open"

    def answer(self, head: AnswerHead, body: bytes, complete: bool) -> None:
        assert self.head is None, "two answers"
        self.head = head
        self.answer_body(body, complete)

    def interim(self, head: AnswerHead) -> None:
        assert self.head is None
        self.interims.append(head.status)

    def switched(self, head: AnswerHead, data: bytes) -> None:
        assert self.upgrades
        self.head = head
        self.received += data

    def answer_body(self, body: bytes, complete: bool) -> None:
        assert self.head is not None
        assert self.outcome == "open", "more of an answer that was over"
        self.received += body
        if complete:
            self.outcome = "whole"
            self.connection.release(clean=True)

    def upstream_broken(self, connection: UpstreamConnection, error: WireError | None) -> None:
        assert self.outcome == "open", "broken after its end"
        self.outcome = "broken"
        connection.abort()

    def upstream_clogged(self) -> None: ...

    def upstream_drained(self) -> None: ...


#: A clock for a pool: this loop never runs.
_STILL = asyncio.new_event_loop()
_STILL.close()


class KeptPool:
    """A pool without a server; ``given_back`` are the connections that it has to give out again."""

    def __init__(self) -> None:
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(running or _STILL)  # most of what uses this has no loop
        self.pool = Pool("127.0.0.1", 1, 1.0)
        asyncio._set_running_loop(running)

    @property
    def given_back(self) -> list[UpstreamConnection]:
        return self.pool._idle


def carried(
    sock: socket.socket, method: bytes = b"GET"
) -> tuple[UpstreamConnection, KeptTransport, KeptAnswer, KeptPool]:
    """A server's connection that carries a request. ``sock`` is only asked whether something lies in it."""
    pool = KeptPool()
    connection, transport = UpstreamConnection(pool.pool), KeptTransport(sock)
    connection.connection_made(transport)
    answer = KeptAnswer(connection, method)
    connection.carried = answer
    return connection, transport, answer, pool
