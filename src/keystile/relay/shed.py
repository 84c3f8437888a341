"""What a relay does when there is more to do than it can do: look, let in fewer, refuse, and go on.

Law: ``limits/overload.py`` decides, this file looks and acts. Whatever was admitted is served; the health path and the
service's own key calls are never refused here, on connections new or kept.

How lag is looked at: twenty times a second one whole turn of the loop is timed, from before its writes to after its
reads, without waiting for anything. So requests cost nothing for it, and what is timed is work, not a timer's delay.

A refusal must cost much less than a request, and must not be answered with the next request at once: one that is read
costs half a request, so four times the load would leave nothing. So a request that is refused gets bytes made
beforehand, no key is looked up, nothing is logged but counted; and then its connection rests: it is not read for the
better part of the time that Retry-After asks for. Who waits as it says notices nothing of that. Who does not is held up
in its own kernel, at no cost, and rests twice as long each time; what it has sent meanwhile has waited too long, and is
refused when there is room for its next. Trusted proxies never rest: their connections carry many people's requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic, thread_time
from typing import TYPE_CHECKING, Final

from keystile.config.model import Limits, Listener, ManagementRoutes
from keystile.limits.deadlines import NEVER
from keystile.limits.heap import resident
from keystile.limits.overload import Level, Overload
from keystile.relay.admit import note_of
from keystile.relay.cors import answer_fields
from keystile.relay.refusal import REASONS, RETRY_AFTER, Refusal
from keystile.relay.relief import Relief
from keystile.routing.route import Route
from keystile.wire import websocket
from keystile.wire.client import ANSWER, ClientConnection
from keystile.wire.plain_door import waited
from keystile.wire.request_fields import RequestFields

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway

log = logging.getLogger("keystile.relay")

#: Seconds between looks: while all is calm, while it is not, and while memory is about its bound: strangers send it a
#: megabyte in a few milliseconds, and what comes between two looks is above the bound.
LOOK_SECONDS: Final = 0.05
CLOSE_LOOK_SECONDS: Final = 0.02
FULL_LOOK_SECONDS: Final = 0.005
#: Seconds without a look after which there will be none any more.
LOST_SECONDS: Final = 1.0
#: Seconds for which a refused connection is not read: less than Retry-After, so that who obeys it is read at once. Who
#: does not obey rests twice as long each time, up to this.
REST_SECONDS: Final = 0.75
LONGEST_REST_SECONDS: Final = 4.0
#: Of those whose rest is over, how many are read again at one look: these, and that part of all who rest.
WAKE_AT_LEAST: Final = 8
WAKE_PART: Final = 64
#: Part of the CPU time that may go into refusing new connections; seconds between two that are let in in any case.
DOOR_SHARE: Final = 0.04
TRICKLE_SECONDS: Final = 0.05
#: Connections fetched from one door at one look, besides those that may come in.
FETCHED: Final = 16
#: Seconds between two lines about levels.
LOG_SECONDS: Final = 5.0
#: Bytes of a new connection that are looked at, to see whether it asks for health or for the service's own calls.
PEEKED: Final = 512

_REFUSAL: Final = Refusal.OVERLOADED
_BODY: Final = json.dumps(
    {
        "type": f"urn:keystile:problem:{_REFUSAL.slug}",
        "title": _REFUSAL.title,
        "status": _REFUSAL.status,
        "detail": _REFUSAL.detail,
    }
).encode("ascii")
_START: Final = b"HTTP/1.1 %d %b\r\n" % (_REFUSAL.status, REASONS[_REFUSAL.status])
_LINES: Final = (
    b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\nRetry-After: %d\r\nContent-Length: %d\r\n"
    % (RETRY_AFTER[_REFUSAL], len(_BODY))
)
_AT_THE_DOOR: Final = _START + _LINES + b"Connection: close\r\n\r\n" + _BODY


class Shedder:
    """Of one gateway. ``weigh`` tells its memory in bytes. Must be made inside a running loop."""

    def __init__(self, gateway: Gateway, weigh: Callable[[], int] = resident) -> None:
        self.gateway = gateway
        self.rules = Overload(None, None)
        self.relief = Relief(gateway, weigh)
        self._loop = gateway.loop
        self._timer: asyncio.TimerHandle | None = None
        self._health: bytes | None = None
        self._management: bytes | None = None
        self._resting: list[tuple[float, int, ClientConnection]] = []  # a heap, by until when
        self._hasty: set[ClientConnection] = set()
        self._numbers = count()
        self._level = Level.CALM
        self._said = Level.CALM
        self._said_at = float("-inf")
        self._turn_began = self._cpu_began = self._used = self._next_newcomer = 0.0
        self._closed = False

    @property
    def holds(self) -> bool:
        """Whether doors are held."""
        return self._level > Level.CALM

    # -- life -----------------------------------------------------------------------------------------

    def go_by(self, limits: Limits, health: bytes | None, management: ManagementRoutes | None) -> None:
        """Work by these settings from now on."""
        self._health = health
        self._management = None if management is None else management.prefix.encode("ascii") + b"/"
        if (limits.max_lag, limits.max_memory) != (self.rules.max_lag, self.rules.max_memory):
            self.rules = Overload(limits.max_lag, limits.max_memory)
            self._go_to(Level.CALM, monotonic())
        if self._timer is None:
            self._plan()

    def revive(self) -> None:
        """Once a second: look again where looks have ended by a fault, such as no memory to plan the next.

        Else a relay would refuse for ever, or nobody ever again.
        """
        if self._timer is not None and monotonic() - self._turn_began > LOST_SECONDS:
            self._plan()

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # -- looks ----------------------------------------------------------------------------------------

    def _plan(self) -> None:
        rules = self.rules
        if self._timer is not None:
            self._timer.cancel()  # there is one chain of looks, whoever began it
        if self._closed or (rules.max_lag is None and rules.max_memory is None and not self._resting):
            self._timer = None
            return
        self._timer = self._loop.call_later(self._pause(rules), self._begin_turn)

    def _pause(self, rules: Overload) -> float:
        if rules.by_memory == Level.SHEDDING:
            return FULL_LOOK_SECONDS
        is_close = self._level or self._resting or rules.is_long
        return CLOSE_LOOK_SECONDS if is_close else LOOK_SECONDS

    def _begin_turn(self) -> None:
        """Timers come before the turn's writes, these before its reads: two steps on, a whole turn is over."""
        self._turn_began, self._cpu_began = monotonic(), thread_time()
        self._loop.call_soon(self._loop.call_soon, self._look)

    def _look(self) -> None:
        now = monotonic()
        rules = self.rules
        used = thread_time() - self._cpu_began
        requests = self.gateway.recorder.requests
        rules.look(now - self._turn_began, used, now, requests, owing=bool(self._resting))
        if rules.max_memory is not None:
            self.relief.look(rules, rules.max_memory, now)
        self._go_to(rules.level, now)
        if self._level:
            self._let_in(now)
        self._wake(now)
        self._plan()

    def _go_to(self, level: Level, now: float) -> None:
        before, self._level = self._level, level
        self.gateway.recorder.level, self.gateway.recorder.lag = level, self.rules.lag
        self.gateway.shedding = level == Level.SHEDDING
        if bool(before) != bool(level):
            for _, way in self.gateway.doors():
                way.hold() if level else way.go_on()
        if level != self._said and now - self._said_at >= LOG_SECONDS:
            self._said, self._said_at = level, now
            self._say(level)

    def _say(self, level: Level) -> None:
        recorder = self.gateway.recorder
        if level == Level.CALM:
            text = "overload is over; since the start %d requests and %d new connections were refused because of it"
            log.warning(text, recorder.requests_shed, recorder.connections_shed)
        else:
            why = "memory is near its bound" if self.rules.is_by_memory else f"a turn takes {self.rules.lag:.3f} s"
            who = "few new connections are let in" if level == Level.NO_NEWCOMERS else "requests are refused too"
            log.warning("overloaded: %s: %s (503; these are counted, not logged one by one)", why, who)

    # -- new connections ------------------------------------------------------------------------------

    def _let_in(self, now: float) -> None:
        """Fetch those who wait at the doors: let in as many as there is room for, refuse others."""
        room = self.rules.newcomers()
        if now >= self._next_newcomer:
            self._next_newcomer = now + TRICKLE_SECONDS
            room += 1
        used, self._used = self._used, thread_time()
        give_up = self._used + DOOR_SHARE * (self._used - used)
        for listener, way in self.gateway.doors():
            for _ in range(room + FETCHED):
                accepted = way.fetch()
                if accepted is None:
                    break
                room -= self._let_in_one(accepted, listener, room)
                if room <= 0 and thread_time() >= give_up:
                    break

    def _let_in_one(self, accepted: socket.socket, listener: Listener, room: int) -> bool:
        """Let one in, or refuse it. Returns whether it took room."""
        is_plain = listener.tls is None and not listener.proxy_protocol
        has_room = room > 0 and waited(accepted) <= (self.rules.max_lag or 1.0)
        seen = _peeked(accepted) if is_plain and not has_room else b""
        if has_room or self._asks_for_what_stays(seen):
            self.gateway.spawn(self._adopt(accepted, listener))
            return has_room
        self.rules.turned_away(monotonic())
        self.gateway.recorder.connections_shed += 1
        if is_plain:
            _refuse_at_the_door(accepted, seen)
        accepted.close()
        return False

    async def _adopt(self, accepted: socket.socket, listener: Listener) -> None:
        try:
            await self.gateway.adopt(accepted, listener)
        except OSError:
            accepted.close()  # it has gone again

    def _asks_for_what_stays(self, seen: bytes) -> bool:
        method, _, rest = seen.partition(b" ")
        return bool(rest) and self.stays(method, rest.partition(b" ")[0])

    # -- requests -------------------------------------------------------------------------------------

    def stays(self, method: bytes, target: bytes) -> bool:
        """Whether a request is never refused because of overload."""
        if target == self._health:
            return True
        if self._management is None or not target.startswith(self._management):
            return False
        found = self.gateway.table.find(method, target.partition(b"?")[0])
        return type(found) is Route and self.gateway.upstreams[found.upstream].is_management

    def sheds(self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields) -> bool:
        """Refuse a request while the level is ``SHEDDING``; False, and nothing is done, where it may go on."""
        if self.stays(method, target):
            return False
        rules = self.rules
        if client in self._hasty:
            self._hasty.discard(client)
            self._refuse(client, method, target, fields, rests=False)
            return True
        if rules.begins_turn():
            self._loop.call_soon(rules.turn_over)
        name = note_of(self.gateway, fields, client.peer).peer.slot
        if rules.admits(self.gateway.slots.count(name, client.slot_row)):
            return False
        self._refuse(client, method, target, fields, rests=True)
        return True

    def _refuse(
        self, client: ClientConnection, method: bytes, target: bytes, fields: RequestFields, *, rests: bool
    ) -> None:
        self._count()
        if method == b"CONNECT" or websocket.is_asked_for(fields):
            client.read_no_more()  # as in exchange.py: what follows may not be meant as requests
        client.first = b""
        keep_alive = fields.keep_alive and client.state == ANSWER and not self.gateway.draining
        client.write(
            b"%b%b%b%bX-Request-Id: %b\r\n%b\r\n%b"
            % (
                _START,
                client.own_lines,
                _LINES,
                self._cors(method, target, fields) if fields.origin else b"",
                self.gateway.request_id(fields),
                _connection_line(keep_alive, fields.minor_version),
                b"" if method == b"HEAD" else _BODY,
            )
        )
        if keep_alive and rests and not client.peer.trusted:
            client.pause()
            self._rest(client)
        else:
            client.finished(keep_alive)

    def _count(self) -> None:
        recorder = self.gateway.recorder
        recorder.requests += 1
        recorder.requests_shed += 1
        recorder.statuses[_REFUSAL.status] += 1
        recorder.refused[_REFUSAL] += 1

    def _cors(self, method: bytes, target: bytes, fields: RequestFields) -> bytes:
        """A page may read why it was refused."""
        found = self.gateway.table.find(method, target.partition(b"?")[0])
        return answer_fields(found.cors if type(found) is Route else self.gateway.settings.cors, fields.origin)

    def _wake(self, now: float) -> None:
        """Read those again whose rest is over; of those who did not wait, as many as there is room for, but one."""
        self._hasty.clear()
        resting, room, one = self._resting, self.rules.returners(), 1
        is_over = self._level < Level.SHEDDING or self.gateway.draining
        if is_over:
            room = WAKE_AT_LEAST + len(resting) // WAKE_PART
        while resting and (room or resting[0][0] <= now):
            client = heappop(resting)[2]
            if not client.has_unread():
                client.rest = 0.0
            elif not room and not one:
                self._rest(client)
                continue
            else:
                one -= not room
                if not is_over:
                    self._hasty.add(client)
            room -= bool(room)
            client.finished(True)

    def _rest(self, client: ClientConnection) -> None:
        """Do not read it for a while: its state stays ANSWER, and nothing is taken for a request."""
        client.due = NEVER
        client.rest = min(2 * client.rest, LONGEST_REST_SECONDS) or REST_SECONDS
        heappush(self._resting, (monotonic() + client.rest, next(self._numbers), client))


def _connection_line(keep_alive: bool, minor_version: int) -> bytes:
    if keep_alive:
        return b"" if minor_version else b"Connection: keep-alive\r\n"
    return b"Connection: close\r\n"


def _peeked(accepted: socket.socket) -> bytes:
    """What has come of a first request; empty where nothing has."""
    try:
        return accepted.recv(PEEKED, socket.MSG_PEEK)
    except OSError:
        return b""


def _refuse_at_the_door(accepted: socket.socket, seen: bytes) -> None:
    """One answer, whatever is asked. What has come is taken first: closed with it unread, a socket resets."""
    try:
        if seen:
            accepted.recv(64 * 1024)
        accepted.send(_AT_THE_DOOR)
    except OSError:
        return  # it has gone again
