"""A whole relay without sockets: real gateway, exchanges and connections between transports that do as they are told.

Law: a script decides what happens and in which order; this file makes it happen as a kernel and an event loop would
(nothing is delivered while reading is paused, ``connection_lost`` comes a turn after the end, a clogged transport says
so) and judges what came out, by ``tests.wire.judge`` and ``tests.fuzz.reference``. It knows no expected answer: what
must hold is that each request goes out at most once (twice where the rules allow another try), that all bytes sent
are well framed, and that everything is given back at the end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from zlib import crc32

from keystile.config.model import Needs, Operation
from keystile.keys import secret as secrets
from keystile.keys.keyring import Keyring, KeyRow
from keystile.limits.slots import SlotTable
from keystile.relay.gateway import Gateway
from keystile.storage.follow import KeyFollower
from keystile.wire.client import ClientConnection
from keystile.wire.grammar import IDEMPOTENT
from keystile.wire.pool import Pool
from keystile.wire.upstream import UpstreamConnection
from tests.fuzz.judge import judge_answers, judge_requests
from tests.fuzz.reference import Bounds, Stream, read_requests
from tests.fuzz.sockets import Told, judge_sockets
from tests.relay.running import KeptMessages, StoredNowhere, rules, settings

SECRET = b"0123456789ABCDEF" * 5 + b"01234567"
SECRET += b"%08X" % crc32(SECRET)  # its check digits
OPERATIONS = (
    Operation((), "/any/*", Needs(), "api", "fuzz", 0),
    Operation((), "/ws", Needs(), "api", "fuzz", 1, websocket=True),
)
LIMITS = {"max_head_size": 2048, "max_fields": 20, "max_body_size": 8192, "concurrent_requests_per_ip": 3}
BOUNDS = Bounds(fields=20, head=2048, body=8192, secret=SECRET)


KEY = KeyRow(
    id="key1",
    account="owner@example.com",
    name="name1",
    digest=secrets.digest(SECRET),
    scopes="",
    networks="",
    expires=None,
)


class _FakeSocket:
    """What connections ask a socket for; ``state`` is TCP's: 1 is established."""

    state = 1

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, *_: object) -> bytes:
        return bytes([self.state])


class Wire(asyncio.Transport):
    """One end of a connection. ``sent`` has left, ``got`` was read; ``ended``: empty, "closed" or "aborted"."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        self.protocol: ClientConnection | UpstreamConnection
        self.sent = b""
        self.got = b""
        self.heard_by: dict[int, int] = {}  # how much had been read when this much had been sent
        self.ended = ""
        self.reading = True
        self.clogged = False
        self.told_clogged = False
        self.eof_sent = False
        self.lost = False
        self.arrived: deque[bytes | None] = deque()  # None: the other side ends
        self._socket = _FakeSocket(rig.idle_socket.fileno())

    # -- what the relay does --------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "socket": self._socket}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_sent, "a write behind our own end"
        if self.ended:
            return  # as real transports do
        self.heard_by.setdefault(len(self.sent), len(self.got))
        self.sent += bytes(data)
        if self.clogged and data and not self.told_clogged:
            self.told_clogged = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_sent = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading:
            self.reading = True
            self.rig.loop.call_soon(self.deliver)

    def is_reading(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            self.rig.loop.call_soon(self.lose, None)

    # -- what the world does --------------------------------------------------------------------

    def arrive(self, data: bytes | None) -> None:
        self.arrived.append(data)
        if data is None:
            self._socket.state = 8  # CLOSE_WAIT
        self.deliver()

    def deliver(self) -> None:
        """Hand over what has arrived, as far as the relay reads."""
        while self.arrived and self.reading and not self.ended:
            data = self.arrived.popleft()
            if data is not None:
                self.got += data
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.ended = self.ended or "lost"
            self._socket.state = 7  # CLOSE
            self.protocol.connection_lost(error)

    def clog(self) -> None:
        self.clogged = True

    def unclog(self) -> None:
        self.clogged = False
        if self.told_clogged and not self.lost:
            self.told_clogged = False
            self.protocol.resume_writing()


class _FakePool(Pool):
    """Connects to nothing: each connection is a ``Wire`` that the script holds the other end of."""

    def __init__(self, rig: Rig) -> None:
        super().__init__("127.0.0.1", 1, 5.0)
        self.rig = rig

    async def connect(self) -> UpstreamConnection:
        if self.rig.unreachable:
            raise OSError("nobody is there")
        await asyncio.sleep(0)
        connection = UpstreamConnection(self)
        wire = Wire(self.rig)
        wire.protocol = connection
        connection.connection_made(wire)
        self.rig.upstreams.append(wire)
        return connection


@dataclass
class Caller:
    """One client: its wire and everything that it has sent."""

    wire: Wire
    sent: bytes = b""
    left: bool = False
    answers: list[tuple[int, bytes, bool]] = field(default_factory=list)


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(self.format(record))


class Rig:
    """A gateway, made once; ``fresh`` gives it new connections, ``finish`` takes everything away and judges."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.complaints.kept.append(str(context)))
        self.idle_socket, self._other_end = socket.socketpair()
        self.complaints = _Complaints()
        self.callers: list[Caller] = []
        self.upstreams: list[Wire] = []
        self.unreachable = False
        self.channel = KeptMessages()
        self.slots = SlotTable.create(rows=16, columns=2)
        self.slots.claim_column()
        self.gateway: Gateway = self.loop.run_until_complete(self._make())
        self.logger = logging.getLogger("keystile")

    async def _make(self) -> Gateway:
        wanted = settings(1, limits=LIMITS, operations=OPERATIONS)
        keyring = Keyring()
        keyring.put(KEY)
        gateway = Gateway(
            rules(wanted),
            rules,
            keyring,
            cast(KeyFollower, StoredNowhere()),
            self.slots,
            self.channel,
            lambda names, values: None,
        )
        group = gateway.upstreams["api"]
        group.members[0].pool = _FakePool(self)
        group.members[0].breaker = None  # what one script does says nothing of the next
        group.refresh()
        return gateway

    def close(self) -> None:
        self.slots.close()
        self.idle_socket.close()
        self._other_end.close()
        self.loop.close()

    # -- what a script can do -------------------------------------------------------------------

    def turn(self, times: int = 1) -> None:
        """Let the loop turn: what was put off happens."""
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def settle(self) -> None:
        """A turn ends, and its messages leave, before the loop looks at sockets again."""
        while self.gateway.outbox._due:
            self.turn()

    def connect(self) -> Caller:
        caller = Caller(Wire(self))
        caller.wire.protocol = self.gateway.connection(self.gateway.settings.listeners[0])
        caller.wire.protocol.connection_made(caller.wire)
        self.callers.append(caller)
        return caller

    def send(self, caller: Caller, data: bytes) -> None:
        """Bytes from a client; ``<key>`` stands for the key."""
        if not (caller.left or caller.wire.ended):
            data = data.replace(b"<key>", SECRET)
            caller.sent += data
            self._run(caller.wire.arrive, data)

    def leave(self, caller: Caller, how: str) -> None:
        """A client ends: "eof" (its side only) or "reset"."""
        if caller.left or caller.wire.ended:
            return
        caller.left = True
        if how == "eof":
            self._run(caller.wire.arrive, None)
        else:
            self._run(caller.wire.lose, ConnectionResetError())

    def reply(self, wire: Wire, data: bytes | None) -> None:
        """Bytes from a server, or its end (None)."""
        if not wire.ended and None not in wire.arrived:
            self._run(wire.arrive, data)

    def break_off(self, wire: Wire) -> None:
        """A server's reset."""
        if not wire.ended:
            self._run(wire.lose, ConnectionResetError())

    def unclog(self, wire: Wire) -> None:
        self._run(wire.unclog)

    def wait(self, seconds: float) -> None:
        """Time goes by, and the clock looks."""
        gateway = self.gateway
        gateway.clock.now += seconds

        def look() -> None:
            for client in gateway.clock.overdue(gateway.connections, gateway.clock.now):
                client.out_of_time()
            for client in list(gateway.connections):
                client.notice_leaving()
            for tunnel in list(gateway.tunnels):
                tunnel.look()

        self._run(look)

    def delete_key(self) -> None:
        """The key is deleted, the clock looks, and the key is made anew: no tunnel outlives that."""
        keyring = self.gateway.keyring

        def look() -> None:
            keyring.remove(KEY.id)
            for tunnel in list(self.gateway.tunnels):
                tunnel.look()
            keyring.put(KEY)

        self._run(look)
        assert not self.gateway.tunnels, "a tunnel lives on without its key"

    def _run(self, what: Any, *arguments: Any) -> None:
        """Call it inside the loop, as a selector would; what it raises is the finding."""
        raised: list[BaseException] = []
        self.settle()
        def call() -> None:
            try:
                what(*arguments)
            except BaseException as error:  # noqa: BLE001 (raised again below, outside the loop)
                raised.append(error)

        self.loop.call_soon(call)
        self.turn()
        if raised:
            raise raised[0]
        for tunnel in self.gateway.tunnels:
            client, server = tunnel.client.transport, tunnel.upstream.transport
            assert not (tunnel.client.paused and server.is_reading()), "bytes are collected for a client"
            assert not (tunnel.upstream.paused and client.is_reading()), "bytes are collected for a server"

    # -- the judgement --------------------------------------------------------------------------

    def finish(self) -> None:
        """Everybody goes home; then nothing may be left, and everything that was sent is judged."""
        self.turn(2)
        still_open = {wire: _waiting(wire) for wire in self._in_tunnels()}
        for wire in self.upstreams:
            if not wire.ended:
                self._run(wire.lose, None)
        self.turn(3)
        for caller in self.callers:
            if not caller.wire.lost:
                self._run(caller.wire.lose, None)
        self.turn(3)
        self.gateway.upstreams["api"].members[0].pool.close()
        self.turn(2)
        gateway = self.gateway
        assert not self.complaints.kept, self.complaints.kept[0]
        assert self.slots.taken() == 0, "a slot was not given back"
        assert gateway.in_flight == 0, "an exchange has not ended"
        assert not gateway.connections
        assert not gateway._tasks
        assert not gateway.tunnels
        assert gateway.recorder.tunnels_open == 0
        self.judge(still_open)

    def _in_tunnels(self) -> list[Wire]:
        return [cast(Wire, tunnel.client.transport) for tunnel in self.gateway.tunnels]

    def judge(self, still_open: Mapping[Wire, int]) -> None:
        """``still_open``: clients whose tunnels were open to the end, with how many of their bytes were not read."""
        streams = [read_requests(caller.sent, BOUNDS) for caller in self.callers]
        for caller, stream in zip(self.callers, streams, strict=True):
            caller.answers = judge_answers(caller.wire.sent, _methods(stream), cut=caller.wire.ended != "closed")
            assert len(caller.answers) <= len(stream.requests) + 1
            for (status, body, _), (head, _) in zip(caller.answers, stream.requests, strict=False):
                # Honest servers say what they were asked for.
                honest = status != 101 and body.startswith(b"asked ")
                assert not honest or body == b"asked " + head.target, "somebody else's answer"
            assert b"urn:keystile:problem:internal-error" not in caller.wire.sent
        judge_requests([wire.sent for wire in self.upstreams], streams, IDEMPOTENT)
        told = [
            Told(stream, caller.answers, caller.wire.sent, still_open.get(caller.wire))
            for caller, stream in zip(self.callers, streams, strict=True)
        ]
        judge_sockets(told, [(wire.sent, wire.got, wire.heard_by) for wire in self.upstreams])

    def fresh(self) -> None:
        """Forget the last script."""
        self.callers, self.upstreams, self.unreachable = [], [], False
        self.complaints.kept.clear()
        self.channel.messages.clear()
        self.logger.handlers = [self.complaints]
        self.logger.propagate = False
        self.gateway.recorder.flush(0, 0, False)


def _waiting(wire: Wire) -> int:
    """Bytes that have arrived and were not read."""
    return sum(len(data) for data in wire.arrived if data is not None)


def _methods(stream: Stream) -> list[bytes]:
    last = stream.begun.method if stream.begun else stream.rejected + b"?"
    return [head.method for head, _ in stream.requests] + [last]
