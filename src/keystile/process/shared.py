"""What all processes of a gateway share: sockets, memory, the channel, the accepted configuration.

Law: made once by the supervisor, before any child, and kept as long as the gateway runs; so whatever child
dies, nothing that others use dies with it. Knows what a child is handed of it, not how children live.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from keystile.config.model import Settings, Tls
from keystile.limits.slots import SlotTable
from keystile.process import channel, snapshot, sockets
from keystile.process.charge import Charge
from keystile.process.memory import CounterPages


class Shared:
    """Made from the settings. Raises CannotListen, or OSError for a file that they name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.snapshot = snapshot.take(1, settings)
        self._snapshot_fd = snapshot.seal(self.snapshot)
        self.slots = SlotTable.create(columns=max(16, 2 * settings.workers + 2))
        self.counters = CounterPages.create(settings.workers)
        self._sending, self._receiving = channel.pair()
        # Of each listener, one for each relay.
        self._listeners = [sockets.listen(each.host, each.port, settings.workers) for each in settings.listeners]
        [self._management] = sockets.listen(settings.management.host, settings.management.port)
        # Where relays forward the service's own key calls to: what is sent there waits while management restarts.
        self._calls = [] if settings.management_routes is None else [sockets.listen_beside(settings.store)]

    def relay_charge(self, place: int, factory: str) -> Charge:
        """What the relay at a place (from 1) gets."""
        own = [group[place - 1] for group in self._listeners]
        others = [each for group in self._listeners for each in group if each not in own]
        return self._charge(place, factory, self._sending, own, others)

    def management_charge(self, factory: str) -> Charge:
        """What the management process gets."""
        return self._charge(0, factory, self._receiving, [self._management, *self._calls], [])

    def _charge(
        self,
        place: int,
        factory: str,
        end: socket.socket,
        listeners: list[socket.socket],
        neighbours: list[socket.socket],
    ) -> Charge:
        return Charge(
            supervisor=os.getpid(),
            line=-1,
            snapshot=self._snapshot_fd,
            slots=self.slots.fd,
            counters=self.counters.fd,
            channel=end.fileno(),
            listeners=tuple(each.fileno() for each in listeners),
            neighbours=tuple(each.fileno() for each in neighbours),
            place=place,
            factory=factory,
        )

    def clean_up_after_relay(self, place: int, pid: int) -> None:
        """What a relay held that has ended goes back at once; what it counted is kept."""
        self.slots.clear_after(pid)
        self.counters.fold(place)

    def stop_listening(self) -> None:
        """From now on connections are refused, not left waiting (once the relays have closed theirs too)."""
        for group in self._listeners:
            sockets.close_all(group)

    def close(self) -> None:
        """Let go of everything, when no child is left."""
        self.stop_listening()
        sockets.close_all((self._management, *self._calls, self._sending, self._receiving))
        if self._calls:
            sockets.calls_path(self.settings.store).unlink(missing_ok=True)
        os.close(self._snapshot_fd)
        self.slots.close()
        self.counters.close()

    def announcement(self) -> list[str]:
        """One line for each listener, and one for management."""
        lines = [
            f"listening on {_url(listener.tls, group[0])}"
            for listener, group in zip(self.settings.listeners, self._listeners, strict=True)
        ]
        return [*lines, f"management on {_url(self.settings.management.tls, self._management)}"]

    def status(self) -> dict[str, Any]:
        """Its part of what ``keystile status`` shows."""
        return {
            "configuration": self.snapshot.number,
            "file": str(self.settings.file),
            "slots_taken": self.slots.taken(),
            "slots_highest": self.slots.highest(),
            "listeners": [
                {"address": sockets.address_of(group[0]), "tls": listener.tls is not None}
                for listener, group in zip(self.settings.listeners, self._listeners, strict=True)
                if group[0].fileno() >= 0
            ],
            "management": sockets.address_of(self._management),
            "store": str(self.settings.store),
            "restarts": self.counters.restarts,
        }


def _url(tls: Tls | None, opened: socket.socket) -> str:
    return f"{'https' if tls else 'http'}://{sockets.address_of(opened)}"
