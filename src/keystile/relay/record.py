"""What is remembered of exchanges: counts, times, last uses, access log lines.

Law: plain integers and lists on the hot path; everything leaves in batches,
four times a second, over a channel that drops and counts rather than blocks.
What a line holds is ``log_line.py``'s, which keys were used ``uses.py``'s.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from keystile.config.log_fields import SPAN_FIELDS
from keystile.config.model import AccessLog, KeyPolicy, Needs, Telemetry
from keystile.keys.keyring import HeldKey
from keystile.relay.counters import COUNTERS as COUNTERS  # a supervisor of any version looks for both of them here
from keystile.relay.counters import GAUGES as GAUGES
from keystile.relay.counters import MOST_LISTENERS, OF_SHARED_SLOTS, SINGLE, TLS_COUNTERS
from keystile.relay.handshakes import Handshakes
from keystile.relay.histogram import BOUNDS, OWN_BOUNDS, Histogram
from keystile.relay.log_line import line_maker
from keystile.relay.refusal import Refusal
from keystile.relay.uses import KeyUses
from keystile.routing.route import Route
from keystile.wire.door import TurnedAway
from keystile.wire.peer import Peer

if TYPE_CHECKING:
    from keystile.relay.asking import Asking
    from keystile.relay.exchange import Exchange

#: Seconds between batches.
FLUSH_SECONDS: Final = 0.25
#: Bytes in one message to management; the channel takes datagrams.
MESSAGE_BYTES: Final = 48 * 1024
#: Log lines that may wait for the next batch: beyond it they are dropped and counted.
WAITING_LINES: Final = 20_000
#: And lines of exchanges that are to be spans.
WAITING_SPANS: Final = 2_000
#: Keys by version and address that came with a TLS version that ends, until the next batch.
WAITING_OLD: Final = 5_000
_OLD_TLS: Final = {"TLSv1": "1.0", "TLSv1.1": "1.1"}
_REFUSALS: Final = tuple(Refusal)


class _Refused:
    """Requests that were refused in one way, by ``Refusal.number``."""

    __slots__ = ("key", "number", "requests", "route", "status")

    def __init__(self, key: HeldKey | None, route: Route, status: int, number: int) -> None:
        self.key = key
        self.route = route
        self.status = status
        self.number = number
        self.requests = 0


_NONE_REFUSED: Final = _Refused(None, Route(-1, "", (), Needs(), "", None, ""), 0, -1)


class Channel(Protocol):
    """The bounded way to management."""

    def send(self, kind: bytes, payload: bytes) -> bool:
        """Send one message, or return False at once where it would have to wait."""


class Recorder:
    """Counts and lines of one relay.

    ``logs``: whether access log lines are wanted; ``by_route``: whether requests by route are. ``own``: the gateway's
    own time for a request, its answer's body left out; ``upstream``: from the request's sending to the answer's head;
    ``waited``: for a slot or a server, of requests that had to. Those that got no answer from a server that they were
    sent to are in neither of the first two.
    """

    def __init__(
        self,
        channel: Channel,
        store_counters: Callable[[Sequence[str], Sequence[int]], None],
        handshakes: Handshakes,
        *,
        logs: bool,
    ) -> None:
        self._handshakes = handshakes
        self._channel = channel
        self._store_counters = store_counters
        self.logs = logs
        self.by_route = False
        self.own, self.upstream, self.waited = Histogram(OWN_BOUNDS), Histogram(BOUNDS), Histogram(BOUNDS)
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.cut = 0
        self.retries = 0
        self.log_lines_dropped = 0
        self.spans_dropped = 0
        self.uses = KeyUses()
        self.keys_unavailable = False
        self.turned_away = dict.fromkeys(TurnedAway, 0)
        self.cut_for_memory = 0
        self.tunnels_opened = 0
        self.tunnels_open = 0
        self.bytes_held = 0
        self.retried_elsewhere = 0
        self.servers_left_out = 0
        self.waiting_for_server = 0
        self.requests_shed = 0
        self.connections_shed = 0
        self.level = 0
        self.lag = 0.0
        self.statuses = [0] * 600
        self.refused = dict.fromkeys(_REFUSALS, 0)
        self.came_with: dict[str | None, int] = dict.fromkeys(TLS_COUNTERS, 0)
        self.route_counts_dropped = 0
        self.upstream_idle = 0
        self.upstream_opened = 0
        self.upstream_connect_failures = 0
        self.shared = dict.fromkeys(OF_SHARED_SLOTS, 0)
        self.in_flight_at = [0] * MOST_LISTENERS
        self._epoch = time.time() - monotonic()  # the wall clock is asked with each batch, not at each request
        self.uses.go_by(monotonic(), self._epoch)
        #: Until the next batch: routes that have ``counts`` by status, and requests that were refused.
        self._touched: list[Route] = []
        self._refusals: dict[tuple[HeldKey | None, Route, int, int], _Refused] = {}
        self._last_refused = _NONE_REFUSED
        self._nowhere = Route(-1, "", (), Needs(), "", None, "")
        self._old: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._lines: list[bytes] = []
        self._spans: list[bytes] = []
        self._line = self._span = line_maker(AccessLog(), KeyPolicy())
        self._log: Callable[[Exchange], None] = self._log_line

    def count_shared(self, asking: Asking) -> None:
        """What there is to say of slots that are counted over many hosts."""
        holder = asking.holder
        self.shared = {
            "slots_asked": holder.asked,
            "slots_commands": holder.commands,
            "slots_cut": asking.cut,
            "slots_leased": holder.held,
            "slots_unreachable": int(asking.slots.lends_nothing()),
        }

    def record(self, exchange: Exchange) -> None:
        """Once per exchange, at its end."""
        self.requests += 1
        if exchange.bytes_in:
            self.bytes_in += exchange.bytes_in
        self.bytes_out += exchange.bytes_out
        if exchange.cut:
            self.cut += 1
        key = exchange.key
        route = exchange.route or self._nowhere
        if exchange.refusal is None:
            counts = route.counts
            if not counts:
                self._touched.append(route)
            counts[exchange.status] += 1
        else:
            self._refused(key, route, exchange.status, exchange.refusal.number)
        waited = exchange.waited
        ours = (exchange.started_at or exchange.ended_at) - exchange.began - waited
        if exchange.heard_at:
            theirs = exchange.heard_at - exchange.forwarded_at
            self.upstream.fresh.append(theirs)
            self.own.fresh.append(ours - theirs)
        elif not exchange.forwarded_at and not exchange.cut and exchange.search is None:
            self.own.fresh.append(ours)
        if exchange.search is not None:
            self.retries += exchange.search.sent
        if waited:
            self.waited.fresh.append(waited)
        if key is not None:
            uses = self.uses
            if key.used_at >= uses.turn or uses.takes(key):
                key.used_at = exchange.ended_at
                key.used_from = exchange.note.peer.text
                if exchange.refusal is None:
                    key.requests += 1
            elif exchange.refusal is None:
                uses.requests_dropped += 1
            if exchange.note.peer.tls in _OLD_TLS:
                self._saw_old_tls(key, exchange.note.peer)
        if exchange.configuration:  # by which it was to be logged
            self._log(exchange)

    def _refused(self, key: HeldKey | None, route: Route, status: int, number: int) -> None:
        """Count a refused request. A flood of them is mostly of one kind, which is not looked up each time."""
        last = self._last_refused
        if last.key is not key or last.route is not route or last.status != status or last.number != number:
            place = (key, route, status, number)
            known = self._refusals.get(place)
            if known is None:
                known = self._refusals[place] = _Refused(key, route, status, number)
            last = self._last_refused = known
        last.requests += 1

    def _saw_old_tls(self, key: HeldKey, peer: Peer) -> None:
        """Who will be locked out when old versions are: known by the key, for a refused handshake shows none."""
        place = (key.id, _OLD_TLS[peer.tls or ""], peer.text)
        _, requests = self._old.get(place, (0.0, 0))
        if requests or len(self._old) < WAITING_OLD:
            self._old[place] = (time.time(), requests + 1)

    def go_by(self, log: AccessLog, keys: KeyPolicy, telemetry: Telemetry) -> None:
        """Log, and tell of spans, by these settings from now on."""
        spans = telemetry.otlp is not None
        self.logs = log.enabled or spans
        if log.enabled:  # else what has begun to be logged is logged as it was to be
            self._line = line_maker(log, keys)
        self._span = line_maker(AccessLog(fields=SPAN_FIELDS), keys)
        self._log = self._log_line if not spans else self._log_both if log.enabled else self._log_span

    def _log_both(self, exchange: Exchange) -> None:
        self._log_line(exchange)
        self._log_span(exchange)

    def _log_span(self, exchange: Exchange) -> None:
        if exchange.is_recorded():
            if len(self._spans) < WAITING_SPANS:
                self._spans.append(self._span(exchange))
            else:
                self.spans_dropped += 1

    def _log_line(self, exchange: Exchange) -> None:
        if len(self._lines) < WAITING_LINES:
            self._lines.append(self._line(exchange))
        else:
            self.log_lines_dropped += 1

    def counters(self, connections: int, in_flight: int, store_unreadable: bool) -> list[int]:
        """The counters in the order of ``COUNTERS``."""
        here = {"connections": connections, "in_flight": in_flight, "store_unreadable": int(store_unreadable)}
        single = {**self._of_requests(), **self._of_connections(), **self._of_upstreams(), **here}
        statuses = self.statuses
        return [
            *(single[name] for name in SINGLE),
            *(sum(statuses[hundred : hundred + 100]) for hundred in range(100, 600, 100)),
            *self.refused.values(),
            *self.came_with.values(),
            *self._handshakes.refused_ones.values(),
            *self.own.values(),
            *self.upstream.values(),
            *self.waited.values(),
            *self.in_flight_at,
        ]

    def _of_requests(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "cut": self.cut,
            "log_lines_dropped": self.log_lines_dropped,
            "spans_dropped": self.spans_dropped,
            "uses_dropped": self.uses.dropped,
            "usage_dropped": self.uses.requests_dropped,
            "route_counts_dropped": self.route_counts_dropped,
            "keys_unavailable": int(self.keys_unavailable),
            "websockets": self.tunnels_opened,
            "websockets_open": self.tunnels_open,
            "bytes_held": self.bytes_held,
            "requests_shed": self.requests_shed,
            "relays_holding_back": int(self.level > 0),
            "relays_shedding": int(self.level > 1),
            "loop_lag_microseconds": int(self.lag * 1e6),
        }

    def _of_connections(self) -> dict[str, int]:
        return {
            "connections_too_many": self.turned_away[TurnedAway.TOO_MANY],
            "connections_untrusted": self.turned_away[TurnedAway.UNTRUSTED],
            "connections_bad_header": self.turned_away[TurnedAway.BAD_HEADER],
            "connections_cut_for_memory": self.cut_for_memory,
            "connections_shed": self.connections_shed,
            "handshakes": self._handshakes.done_ones,
            "handshakes_resumed": self._handshakes.resumed,
            "handshakes_abandoned": self._handshakes.abandoned,
        }

    def _of_upstreams(self) -> dict[str, int]:
        return {
            "retries": self.retries,
            "upstream_retries": self.retried_elsewhere,
            "upstream_breaker_opened": self.servers_left_out,
            "upstream_queued": self.waiting_for_server,
            "upstream_connections_idle": self.upstream_idle,
            "upstream_connections_opened": self.upstream_opened,
            "upstream_connect_failures": self.upstream_connect_failures,
            **self.shared,
        }

    def flush(self, connections: int, in_flight: int, store_unreadable: bool, *, last: bool = False) -> bool:
        """Hand everything over. What the channel does not take is dropped and counted, but for what is told of keys.

        ``last``: nothing follows; else that may wait for a later one. Whether some of it waits.
        """
        now = monotonic()
        self._epoch = time.time() - now
        self.uses.go_by(now, self._epoch)
        if self._touched or self._refusals:
            self._flush_sums()
        waits = self.uses.tell(self._channel, now, last=last)
        if self._old:
            self._flush_old()
        if self._lines:
            self.log_lines_dropped += self._send_lines(b"L", self._lines)
        if self._spans:
            self.spans_dropped += self._send_lines(b"S", self._spans)
        self._store_counters(COUNTERS, self.counters(connections, in_flight, store_unreadable))
        return waits

    def _flush_sums(self) -> None:
        hour = int(time.time() // 3600)
        routes: list[tuple[str, str, int, str, int]] = []
        for route in self._touched:
            for status, requests in route.counts.items():
                self.statuses[status] += requests
                routes.append((*_place(route), status, "", requests))
            route.counts.clear()
        for each in self._refusals.values():
            refusal = _REFUSALS[each.number]
            self.statuses[each.status] += each.requests
            self.refused[refusal] += each.requests
            routes.append((*_place(each.route), each.status, refusal.name.lower(), each.requests))
            if each.key is not None:
                self.uses.add(each.key.id, hour, refusal.slug, each.requests)
        self._touched.clear()
        self._refusals.clear()
        self._last_refused = _NONE_REFUSED
        if self.by_route:
            self.route_counts_dropped += self._send_sums(b"R", routes)

    def _send_sums(self, kind: bytes, sums: Sequence[tuple[Any, ...]]) -> int:
        """Send rows that end in requests, in messages that are short enough; the requests that found no room."""
        dropped = 0
        for first in range(0, len(sums), 400):
            batch = sums[first : first + 400]
            payload = json.dumps(batch).encode("ascii")
            if len(payload) > MESSAGE_BYTES and len(batch) > 1:
                half = len(batch) // 2
                dropped += self._send_sums(kind, batch[:half]) + self._send_sums(kind, batch[half:])
            elif not self._channel.send(kind, payload):
                dropped += sum(row[-1] for row in batch)
        return dropped

    def _flush_old(self) -> None:
        seen = [(*place, at, requests) for place, (at, requests) in self._old.items()]
        self._old.clear()
        for first in range(0, len(seen), 400):
            # What finds no room is lost: whoever still comes so will come again.
            self._channel.send(b"O", json.dumps(seen[first : first + 400]).encode("ascii"))

    def _send_lines(self, kind: bytes, lines: list[bytes]) -> int:
        """Send them all, in messages that are short enough; how many found no room."""
        dropped = first = size = 0
        for at, line in enumerate(lines):
            if at > first and size + len(line) > MESSAGE_BYTES:
                dropped += self._send_some(kind, lines[first:at])
                first, size = at, 0
            size += len(line)
        dropped += self._send_some(kind, lines[first:])
        lines.clear()
        return dropped

    def _send_some(self, kind: bytes, lines: list[bytes]) -> int:
        return 0 if self._channel.send(kind, b"".join(lines)) else len(lines)


def _place(route: Route) -> tuple[str, str]:
    """The methods and the template of a route, as its row in the settings has them; empty where there was none."""
    return ",".join(route.methods) or ("*" if route.path else ""), route.path
