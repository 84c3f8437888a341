"""One relay: everything that its exchanges share, and how a request begins.

Law: this file holds things together; the steps themselves stand in
``admit.py``, ``exchange.py`` and ``end.py``. It makes no decision about keys.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from secrets import token_hex
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from keystile.config.model import Limits, Listener, Settings, Tls
from keystile.keys.keyring import Keyring
from keystile.limits.crowd import Crowd
from keystile.limits.deadlines import CoarseClock
from keystile.limits.descriptors import room_for_connections
from keystile.limits.lease import LeasedSlots
from keystile.limits.pace import Floor
from keystile.limits.servers import Pages
from keystile.limits.slots import SlotTable
from keystile.relay.admit import admit, note_of
from keystile.relay.callers import Callers
from keystile.relay.drain import drain
from keystile.relay.entrance import Entrance, Terms
from keystile.relay.exchange import Exchange
from keystile.relay.forward import Identities
from keystile.relay.groups import groups_of
from keystile.relay.handshakes import Handshakes
from keystile.relay.looks import Looks
from keystile.relay.own_answers import answer_at_the_entrance, answer_health, answer_preflight
from keystile.relay.problem import problem
from keystile.relay.reaching import Reaching
from keystile.relay.record import FLUSH_SECONDS, Channel, Recorder
from keystile.relay.refusal import Refusal, of_fault
from keystile.relay.shed import Shedder
from keystile.relay.trace import TracedExchange
from keystile.relay.tunnel import Tunnel
from keystile.relay.upstreams import UpstreamGroup
from keystile.relay.waiting import NOBODY_WAITS, WaitingRoom
from keystile.routing.table import RouteTable
from keystile.storage.follow import KeyFollower
from keystile.wire.application import Bounds
from keystile.wire.client import ClientConnection
from keystile.wire.door import Door, Newcomer, TurnedAway, last_of
from keystile.wire.faults import WireError
from keystile.wire.outbox import Outbox
from keystile.wire.peer import Address, Peer
from keystile.wire.plain_door import PlainDoor, Way
from keystile.wire.request_fields import RequestFields
from keystile.wire.request_head import RequestHeadReader

if TYPE_CHECKING:
    from keystile.relay.asking import Asking

log = logging.getLogger("keystile.relay")

#: Seconds between looks at the store and at unused connections.
TICK_SECONDS: Final = 1.0
#: Seconds between two lines that say why connections are turned away: strangers must not fill the log.
WARNING_SECONDS: Final = 60.0
UNBOUNDED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a gateway works by of one configuration.

    ``terms``: of every TLS policy of a listener in it; ``reaching``: how upstreams with https servers are, by name.
    """

    settings: Settings
    table: RouteTable
    terms: Mapping[Tls, Terms]
    number: int = 1
    reaching: Mapping[str, Reaching] = field(default_factory=dict)


class Gateway:
    """A relay's shared things. Implements ``wire.application.Application``. Must be made inside a running loop."""

    def __init__(
        self,
        rules: Rules,
        make: Callable[[Any], Rules],
        keyring: Keyring,
        follower: KeyFollower,
        slots: SlotTable,
        channel: Channel,
        store_counters: Callable[[Sequence[str], Sequence[int]], None],
        wall_clock: Callable[[], float] = time,
        servers: Pages | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.wall_clock = wall_clock
        self._make = make
        self.keyring = keyring
        self.follower = follower
        self.slots = slots
        self.handshakes = Handshakes(self.loop.time)
        self.recorder = Recorder(channel, store_counters, self.handshakes, logs=rules.settings.access_log.enabled)
        self.identities = Identities()
        self.outbox = Outbox(self.loop)
        self.clock = CoarseClock(1.0)
        self.clock.now = self.loop.time()
        self.crowd = Crowd(0, 0)
        self.servers = servers
        self.upstreams: dict[str, UpstreamGroup] = {}
        self._opened_before = 0  # by groups of servers that are no more
        self.waiting: WaitingRoom | None = None
        #: Where slots are counted over many hosts.
        self.asking: Asking | None = None
        if isinstance(slots, LeasedSlots) and rules.settings.slots is not None:
            from keystile.relay.asking import Asking  # here: it needs the extra ``valkey``

            self.asking = Asking(self, slots, rules.settings.slots)
        self.connections: set[ClientConnection] = set()
        self.newcomers: set[Newcomer] = set()
        self.tunnels: set[Tunnel] = set()
        self.in_flight = 0
        self.draining = False  # every answer is its connection's last
        self.replaced = False  # while draining: another process serves in this one's place
        self.refusing = False  # no request is begun any more
        self.shedding = False  # set by the shedder: every request asks it first
        self._servers: list[tuple[Listener, PlainDoor | Door]] = []
        self._entrances: dict[Listener, Entrance] = {}
        self._doors: dict[Listener, Door] = {}
        #: Connections whose version of TLS is accepted for a time only.
        self.old_ones: set[ClientConnection] = set()
        self._warned = dict.fromkeys(TurnedAway, float("-inf"))
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = request_ids(token_hex(10).encode("ascii"))
        self.shedder = Shedder(self)
        self.looks = Looks(self)
        self._work_by(rules)

    # -- the configuration ------------------------------------------------------------------------

    def take(self, accepted: object) -> None:
        """Work by another configuration from the next request on. Raises whatever keeps it from that."""
        rules = self._make(accepted)
        earlier = Bounds(self.max_body_size, self.body_floor, self.answer_floor, self.request_timeout)
        self._work_by(rules)
        for listener, entrance in self._entrances.items():
            if listener.tls is not None:
                entrance.replace(self._terms.get(listener.tls))
        for listener, door in self._doors.items():
            door.tls = self._entrances[listener].securing(self.settings.limits.head_timeout)
        for client in self.connections:
            client.begin_anew(earlier)

    def _work_by(self, rules: Rules) -> None:
        """What is asked for at every request stands on the gateway itself: each step to it costs time."""
        settings, limits = rules.settings, rules.settings.limits
        self._go_by_upstreams(settings, rules.reaching)  # first: it alone can fail, and then nothing has changed
        self.settings = settings
        self.table = rules.table
        self.configuration = rules.number
        self._terms = rules.terms
        self.recorder.go_by(settings.access_log, settings.keys, settings.telemetry)
        self.recorder.by_route = settings.metrics.routes
        self._go_by_times(limits)
        self.body_floor = _floor(limits.min_body_rate, limits.rate_window)
        self.answer_floor = _floor(limits.min_read_rate, limits.rate_window)
        self.callers = Callers(settings, self.slots)
        self.crowd.most = limits.connections or room_for_connections()
        self.crowd.most_each = limits.connections_per_ip
        self.max_buffered = limits.max_buffered
        self.reader = RequestHeadReader(
            withheld=settings.keys.headers,
            max_fields=limits.max_fields,
            believes_forwarded=settings.client_address_field == "Forwarded",
            trace=settings.telemetry.trace,
        )
        self.exchange: type[Exchange] = TracedExchange if settings.telemetry.trace == "begin" else Exchange
        self.sampled_share = settings.telemetry.sample
        self.max_head_size = limits.max_head_size
        self.max_body_size = UNBOUNDED if limits.max_body_size is None else limits.max_body_size
        self.request_timeout = limits.request_timeout
        self.cap = limits.concurrent_requests_per_ip
        self.cap_detail = Refusal.TOO_MANY_AT_ONCE.detail.format(cap=self.cap)
        self.trust_without_store = settings.trust_without_store
        self.header_names = " or ".join(settings.keys.headers)
        query = settings.keys.query_parameter
        self.query_parameter = query.lower().encode("ascii") if query else None
        self.health_path = settings.health_path.encode("ascii") if settings.health_path else None
        self.shedder.go_by(limits, self.health_path, settings.management_routes)
        if self.waiting is not None:
            self.waiting.rules = limits.over_limit or NOBODY_WAITS
        elif limits.over_limit is not None:
            self.waiting = WaitingRoom(self, limits.over_limit)

    def _go_by_upstreams(self, settings: Settings, reaching: Mapping[str, Reaching]) -> None:
        """Those that are as they were keep their connections; the others' close, once what they carry has ended."""
        before, self.upstreams = self.upstreams, groups_of(settings, reaching, self.upstreams)
        for name, group in before.items():
            here = self.upstreams.get(name)
            if here is not group:
                group.hand_over_to(here)
                self._opened_before += group.opened

    def _go_by_times(self, limits: Limits) -> None:
        clock = CoarseClock(
            min(
                limits.head_timeout,
                limits.request_timeout,
                limits.idle_timeout,
                limits.websocket_timeout,
                limits.websocket_idle_timeout,
                limits.rate_window,
            )
        )
        clock.now = self.clock.now
        self.clock = clock
        self.head_time = clock.after(limits.head_timeout)
        self.request_time = clock.after(limits.request_timeout)
        self.idle_time = clock.after(limits.idle_timeout)
        self.websocket_time = clock.after(limits.websocket_timeout)
        self.websocket_idle_time = clock.after(limits.websocket_idle_timeout)

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the keys and start the clocks. Raises ``StoreUnreadable``."""
        self.follower.load()
        if self.asking is not None:
            await self.asking.start()
        self.spawn(self._for_ever(self._tick))
        self.spawn(self._for_ever(self._flush))

    async def listen(self, sock: socket.socket, listener: Listener) -> None:
        """Accept connections on ``sock``, which listens already."""
        door = self._door(listener)
        if door is not None:
            door.open(sock)
            self._servers.append((listener, door))
        else:
            entrance = self._entrance(listener)
            plain = PlainDoor(self.loop, sock, lambda: self._connection(entrance), self.spawn)
            await plain.open()
            self._servers.append((listener, plain))
        if self.shedder.holds:
            self._servers[-1][1].hold()

    def is_overloaded(self) -> bool:
        """Whether no new connections are taken on but a few."""
        return self.shedder.holds

    def doors(self) -> Sequence[tuple[Listener, Way]]:
        """What connections come in by, each with its listener."""
        return self._servers

    def unlisten(self, listener: Listener) -> None:
        """Accept no more from one socket of ``listener``; its connections stay."""
        for at, (other, server) in enumerate(self._servers):
            if other == listener:
                server.close()
                del self._servers[at]
                self._doors.pop(listener, None)
                self._entrances.pop(listener, None)
                return

    async def adopt(self, accepted: socket.socket, listener: Listener) -> None:
        """Serve a connection that another process accepted on ``listener``'s socket."""
        door = self._door(listener)
        if door is not None:
            door.welcome(accepted)
        else:
            entrance = self._entrance(listener)
            await self.loop.connect_accepted_socket(lambda: self._connection(entrance), accepted)

    def _door(self, listener: Listener) -> Door | None:
        """What stands before connections of ``listener``; None for a plain one."""
        if listener.tls is None and not listener.proxy_protocol:
            return None
        door = self._doors.get(listener)
        if door is None:
            entrance = self._entrance(listener)
            door = self._doors[listener] = Door(
                self,
                entrance.securing(self.settings.limits.head_timeout),
                lambda: self._connection(entrance),
                proxy_protocol=listener.proxy_protocol,
            )
        return door

    def _entrance(self, listener: Listener) -> Entrance:
        entrance = self._entrances.get(listener)
        if entrance is None:
            terms = None if listener.tls is None else self._terms[listener.tls]
            entrance = Entrance(listener, terms, self.handshakes, self.wall_clock)
            self._entrances[listener] = entrance
        return entrance

    def connection(self, listener: Listener) -> ClientConnection:
        """A new connection, as if it had come to this listener."""
        return self._connection(self._entrance(listener))

    def _connection(self, entrance: Entrance) -> ClientConnection:
        client = ClientConnection(self)
        client.entrance = entrance
        return client

    def leave(self, *, replaced: bool = False) -> None:
        """From now on every answer is its connection's last; and unless another serves in its place, health says so."""
        self.draining = True
        self.replaced = replaced

    async def drain(self) -> None:
        """Accept nothing more, answer what is in flight, for at most ``drain_timeout``; then cut what is left."""
        await drain(self)

    async def accept_no_more(self) -> None:
        """Serve who has connected already, and nobody after that; who was ``replaced`` leaves them to the other."""
        waiting: list[tuple[socket.socket, Listener]] = []
        for listener, server in self._servers:
            for each in server.sockets:
                same = socket.socket(fileno=os.dup(each.fileno()))
                server.stop() if isinstance(server, Door) else server.close()
                if not self.replaced:
                    waiting += [(accepted, listener) for accepted in last_of(same)]
                same.close()
        for accepted, listener in waiting:
            await self.adopt(accepted, listener)

    def turn_newcomers_away(self) -> None:
        """Close what has not said yet for whom it comes."""
        for newcomer in list(self.newcomers):
            newcomer.close()

    def close(self) -> None:
        """End now: cut every connection and hand over what was recorded."""
        self.draining = True
        for _, server in self._servers:
            server.close()
        for client in list(self.connections):
            if client.served is not None:
                client.served.client_gone()
            client.transport.abort()
        for group in self.upstreams.values():
            group.close()
        self.shedder.close()
        if self.asking is not None:
            self.asking.close()
        for task in self._tasks:
            task.cancel()
        self._hand_over(last=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside; its failure is logged and never lost."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the relay failed", exc_info=task.exception())

    async def _for_ever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A fault of ours (no memory, a bug) in one look must not end all further ones: time-outs would be no more."""
        while True:
            try:
                await work()
            except Exception:
                with suppress(MemoryError):  # there may be none for saying so either
                    log.exception("what runs beside requests has failed, and begins anew")
                await asyncio.sleep(TICK_SECONDS)

    async def _tick(self) -> None:
        """Everything that happens by the clock: time-outs, unused connections, the store."""
        checked = 0.0
        while True:
            await asyncio.sleep(self.clock.pause)
            now = self.loop.time()
            for client in self.clock.overdue(self.connections, now):
                client.out_of_time()
            for newcomer in self.clock.overdue(list(self.newcomers), now):
                newcomer.out_of_time()
            if now - checked >= TICK_SECONDS:
                checked = now
                self.looks.servers(now)
                self.looks.clients()
                self.looks.old_ones()
                self.shedder.revive()
                self.follower.check()
                for tunnel in list(self.tunnels):
                    tunnel.look()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._hand_over()

    def hand_over_last(self) -> bool:
        """Hand over all that was recorded; whether something is left, for which there was no room."""
        return self._hand_over(last=True)

    def _hand_over(self, *, last: bool = False) -> bool:
        unreadable = self.follower.unreadable_since is not None
        self.recorder.keys_unavailable = self.refuses_keys()
        groups = self.upstreams.values()
        if self.asking is not None:
            self.recorder.count_shared(self.asking)
        self.recorder.waiting_for_server = sum(len(group.line) for group in groups)
        self.recorder.upstream_idle = sum(member.pool.idle for group in groups for member in group.members)
        self.recorder.servers_left_out = self._opened_before + sum(group.opened for group in groups)
        return self.recorder.flush(len(self.connections), self.in_flight, unreadable, last=last)

    def refuses_keys(self) -> bool:
        """Whether the store has been away for longer than the keys in memory are trusted (as ``admit`` sees it)."""
        since = self.follower.unreadable_since
        return since is not None and monotonic() - since > self.trust_without_store

    # -- requests ---------------------------------------------------------------------------------

    def begin(self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields) -> None:
        """A request has been read: decide, then forward or refuse."""
        if self.shedding and self.shedder.sheds(client, method, target, fields):
            return
        exchange = self._exchange(client, method, target, fields)
        try:
            if self.health_path is not None and target == self.health_path and method in (b"GET", b"HEAD"):
                answer_health(self, exchange)
                return
            if client.asked and answer_at_the_entrance(self, exchange):
                return
            if exchange.announces_body and client.fault is not None:
                exchange.broken(client.fault)
                return
            if self.refusing:
                exchange.path = target.partition(b"?")[0]
                exchange.refuse(Refusal.DRAINING)
                return
            if method == b"OPTIONS" and fields.requested_method and answer_preflight(self, exchange):
                return
            refusal = admit(self, exchange)
            if refusal is None:
                exchange.forward()
            elif not self._waits(exchange, refusal):
                exchange.refuse(refusal)
        except Exception:
            # A fault of ours: whatever it was, this request gets an answer and its slot goes back.
            log.exception("request %s failed", exchange.request_id.decode("ascii"))
            exchange.refuse(Refusal.INTERNAL_ERROR)

    def _waits(self, exchange: Exchange, refusal: Refusal) -> bool:
        """Whether what was refused waits instead: for a slot, or until it is known whether there is one."""
        if self.waiting is None and self.asking is None:
            return False
        if refusal is Refusal.TOO_MANY_AT_ONCE:
            return self.waiting is not None and self.waiting.enter(exchange)
        return self.asking is not None and self.asking.enter(exchange, refusal)

    def reject(self, client: ClientConnection, method: bytes, error: WireError) -> None:
        """No request could be read: say why, and close."""
        fields = RequestFields(1)
        fields.keep_alive = False
        exchange = self._exchange(client, method, b"", fields)
        exchange.detail = error.detail
        exchange.refuse(of_fault(error.fault))

    def request_id(self, fields: RequestFields) -> bytes:
        """The id of a request that gets no exchange."""
        return fields.request_id or next(self._ids)

    def _exchange(self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields) -> Exchange:
        request_id = fields.request_id or next(self._ids)
        exchange = self.exchange(self, client, method, target, fields, note_of(self, fields, client.peer), request_id)
        if fields.chunked or fields.content_length > 0:
            exchange.announces_body = True
            first, client.first = client.first, b""
            exchange.held = [first] if first else []
            exchange.bytes_in = exchange.held_size = len(first)
        if self.recorder.logs:
            exchange.configuration = self.configuration
        client.served = exchange
        self.in_flight += 1
        return exchange

    # -- connections ------------------------------------------------------------------------------

    def meet(self, client: ClientConnection) -> Peer:
        """Who is calling, and what is said and asked on this connection because of how it came."""
        peer = self.callers.at(client.transport, client.announced)
        if client not in self.connections:
            self.recorder.came_with[peer.tls] += 1
        entrance = client.entrance
        assert type(entrance) is Entrance
        client.own_lines = entrance.own_lines(peer)
        client.says_hsts = entrance.says_hsts
        client.answer_lines = entrance.answer_lines(peer)
        client.asked = entrance.asks
        if entrance.is_old(peer):
            client.asked = True
            self.old_ones.add(client)
        return peer

    def gave_up(self) -> None:
        """A TLS handshake did not end: its client left."""
        self.handshakes.gave_up()

    def crowd_name(self, ip: Address) -> bytes:
        """By which name connections from ``ip`` are counted."""
        return self.callers.crowd_name(ip)

    def turn_away(self, client: ClientConnection) -> None:
        """Say in a word that there are too many connections, and close this one."""
        refusal = Refusal.TOO_MANY_CONNECTIONS
        request_id = next(self._ids)
        said = problem(refusal, request_id)
        client.write(
            b"%b%b\r\nConnection: close\r\n\r\n%b%b%b"
            % (said.head, request_id, said.before, request_id, said.after)
        )
        client.transport.close()
        self.recorder.refused[refusal] += 1
        self.turned_away(TurnedAway.TOO_MANY, client.peer.text)

    def turned_away(self, why: TurnedAway, detail: str) -> None:
        """Count a connection that was closed before its first request, and say so now and then."""
        self.recorder.turned_away[why] += 1
        now = self.loop.time()
        if now - self._warned[why] >= WARNING_SECONDS:
            self._warned[why] = now
            log.warning(_WARNINGS[why], detail)


_WARNINGS: Final = {
    TurnedAway.TOO_MANY: "too many connections: one was refused (%s); further ones are only counted for a minute",
    TurnedAway.UNTRUSTED: "%s connected to a listener with proxy_protocol and is none of trusted_proxies: closed",
    TurnedAway.BAD_HEADER: "a trusted proxy sent no PROXY protocol header: %s: closed",
}


def request_ids(prefix: bytes) -> Iterator[bytes]:
    """``prefix`` with twelve digits (hexadecimal) that count up: unique over processes and restarts if it is.

    A counter costs a fraction of a random number, and put together from all groups of three digits, which are made
    once, half of one that is formatted each time.
    """
    return map(b"".join, product((prefix,), _DIGITS, _DIGITS, _DIGITS, _DIGITS))


_DIGITS: Final = tuple(b"%03x" % number for number in range(1 << 12))


def _floor(rate: float | None, window: float) -> Floor | None:
    return None if rate is None else Floor(rate, window)
