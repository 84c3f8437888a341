"""What a relay looks at once a second: its servers, its clients, and connections whose time is over.

Law: everything here happens by the clock and beside requests (``Gateway._tick`` calls it; where memory is short
``relief.py`` cuts by it); nothing decides on one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keystile.relay.counters import MOST_LISTENERS
from keystile.relay.entrance import Entrance
from keystile.wire.client import ClientConnection

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway


class Looks:
    """Of one relay."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def servers(self, now: float) -> None:
        """What the health checks say, what this relay itself says, and names that should be looked up again."""
        gateway = self._gateway
        pages, states = gateway.servers, bytearray()
        said = None if pages is None else pages.checks.read(gateway.configuration)
        for upstream in gateway.settings.upstreams:
            group = gateway.upstreams[upstream.name]
            group.hear(said, len(states))
            states += bytes(member.said for member in group.members)
        if pages is not None:
            pages.own.write(gateway.configuration, bytes(states))
        for group in gateway.upstreams.values():
            group.tick(now)
            for member in group.members:
                if member.pool.addresses.due():
                    gateway.spawn(member.pool.look_up())

    def old_ones(self) -> None:
        """Close connections whose version of TLS is not accepted any more, each after the request it serves."""
        gateway = self._gateway
        for client in list(gateway.old_ones):
            if client not in gateway.connections:
                gateway.old_ones.discard(client)
            elif type(client.entrance) is Entrance and client.entrance.is_over(client.peer):
                client.retire()

    def clients(self) -> None:
        """Who has left, who is too slow, and how much memory all of them hold."""
        gateway = self._gateway
        held = 0
        busy: Counter[object] = Counter()
        for client in list(gateway.connections):
            held += client.look()
            if client.served is not None:
                busy[client.entrance] += 1
        gateway.recorder.bytes_held = held
        gateway.recorder.in_flight_at = self._by_listener(busy)
        if held > gateway.max_buffered:
            self.cut_greediest(held - gateway.max_buffered)

    def _by_listener(self, busy: Mapping[object, int]) -> list[int]:
        """Requests in flight by the place of their listener; those of one that is no more are left out."""
        gateway = self._gateway
        found, listeners = [0] * MOST_LISTENERS, gateway.settings.listeners
        for entrance, requests in busy.items():
            if type(entrance) is Entrance and entrance.listener in listeners:
                found[min(listeners.index(entrance.listener), MOST_LISTENERS - 1)] += requests
        return found

    def cut_greediest(self, too_much: int) -> None:
        """Cut those for whom most is held in memory, until so many bytes less are."""
        gateway = self._gateway
        for client in sorted(gateway.connections, key=ClientConnection.held_bytes, reverse=True):
            if too_much <= 0:
                return
            too_much -= client.held_bytes()
            gateway.recorder.cut_for_memory += 1
            if client.served is not None:
                client.served.client_gone()
            else:
                client.transport.abort()
