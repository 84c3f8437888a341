"""What all processes of a gateway share: sockets, memory, the channel, the accepted configuration.

Law: made by the supervisor and kept by it; so whatever child dies, nothing that others use dies with it. All but
the configuration in force, with the sockets of its listeners, is made once, before any child. Knows what a child
is handed of it, not how children live.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from typing import Any

from keystile.config.live import needs_restart
from keystile.config.model import Listener, Settings, Tls
from keystile.limits.servers import ServerTable
from keystile.limits.slots import SlotTable
from keystile.management.servers import seen
from keystile.process import channel, snapshot, sockets
from keystile.process.charge import Charge
from keystile.process.handover import Files
from keystile.process.memory import CounterPages
from keystile.wire.tls import openssl_conf


class NotLive(Exception):
    """A configuration differs in what a running gateway cannot change. The message names it."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A configuration with what belongs to it: ``fd`` holds its snapshot, ``groups`` the sockets of each listener."""

    snapshot: snapshot.Snapshot
    fd: int
    groups: tuple[list[socket.socket], ...]

    def files_for(self, place: int) -> list[int]:
        """What a relay that runs is handed of it: snapshot, own sockets, those of the others; all ours to close."""
        own = [group[place - 1] for group in self.groups]
        return [self.fd, *(each.fileno() for each in [*own, *_others(self.groups, place)])]


class Shared:
    """Made from the settings, or taken over as it is (``handed``: by this process before an upgrade).

    Raises CannotListen, or OSError for a file that they name.
    """

    def __init__(self, settings: Settings, handed: Files | None = None) -> None:
        if handed is None:
            self._make(settings)
        else:
            self._take_over(handed)
        self._openssl = snapshot.memory_file("keystile-openssl", openssl_conf().encode())

    def _make(self, settings: Settings) -> None:
        first = snapshot.take(1, settings)
        self.slots = SlotTable.create(columns=max(16, 2 * settings.workers + 2))
        # In an upgrade there are twice as many for a while; the rest is for those of the one before that still drain.
        self.counters = CounterPages.create(2 * settings.workers)
        self.servers = ServerTable.create(2 * settings.workers)
        self._sending, self._receiving = channel.pair()
        # Of each listener, one for each relay.
        groups = tuple(sockets.listen(each.host, each.port, settings.workers) for each in settings.listeners)
        self.in_force = InForce(first, snapshot.seal(first), groups)
        [self._management] = sockets.listen(settings.management.host, settings.management.port)
        # Where relays forward the service's own key calls to: what is sent there waits while management restarts, or
        # takes the configuration by which it serves them. Where these are off, nobody accepts here.
        self._calls = sockets.listen_beside(settings.store)

    def _take_over(self, handed: Files) -> None:
        self.slots = SlotTable.attach(handed.slots)
        self.counters = CounterPages.attach(handed.counters)
        self.servers = ServerTable.attach(handed.servers)
        self._sending, self._receiving = _opened([handed.sending, handed.receiving])
        groups = tuple(_opened(group) for group in handed.groups)
        self.in_force = InForce(snapshot.read(handed.snapshot), handed.snapshot, groups)
        [self._management] = _opened([handed.management])
        [self._calls] = _opened([handed.calls])

    def handed(self) -> dict[str, Any]:
        """Its part of ``Files``."""
        return {
            "slots": self.slots.fd,
            "counters": self.counters.fd,
            "servers": self.servers.fd,
            "sending": self._sending.fileno(),
            "receiving": self._receiving.fileno(),
            "snapshot": self.in_force.fd,
            "management": self._management.fileno(),
            "calls": self._calls.fileno(),
            "groups": [[each.fileno() for each in group] for group in self.in_force.groups],
        }

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.in_force.snapshot.settings

    def prepare(self, wanted: snapshot.Snapshot, fd: int) -> InForce:
        """What would be in force with a configuration (``fd`` holds it): open sockets stay, others are opened.

        Raises NotLive, or CannotListen for an address that cannot be had; then nothing has changed.
        """
        fixed = needs_restart(self.settings, wanted.settings)
        if fixed:
            raise NotLive(f"{', '.join(fixed)} cannot change while the gateway runs; restart it")
        here: dict[tuple[str, int], list[list[socket.socket]]] = {}  # several may say port 0
        for listener, group in zip(self.settings.listeners, self.in_force.groups, strict=True):
            here.setdefault(_address(listener), []).append(group)
        groups: list[list[socket.socket]] = []
        try:
            for each in wanted.settings.listeners:
                same = here.get(_address(each))
                groups.append(same.pop(0) if same else sockets.listen(*_address(each), self.settings.workers))
        except sockets.CannotListen:
            self._close_all_but(self.in_force, groups)
            raise
        return InForce(wanted, fd, tuple(groups))

    def put_in_force(self, prepared: InForce) -> InForce:
        """From now on children start from it. Returns what was in force before, whose sockets are closed by now."""
        before, self.in_force = self.in_force, prepared
        self._close_all_but(prepared, list(before.groups))
        return before

    def forget(self, prepared: InForce) -> None:
        """It is not to be: close what only it had."""
        self._close_all_but(self.in_force, list(prepared.groups))
        os.close(prepared.fd)

    def _close_all_but(self, kept: InForce, groups: list[list[socket.socket]]) -> None:
        for group in groups:
            if not any(group is other for other in kept.groups):
                sockets.close_all(group)

    def relay_charge(self, place: int, factory: str, page: int = 0) -> Charge:
        """What the relay at a place (from 1) gets; ``page``: of its counters, where it is another one."""
        groups = self.in_force.groups
        own = [group[place - 1] for group in groups]
        return self._charge(page or place, factory, self._sending, own, _others(groups, place))

    def management_charge(self, factory: str, *, standby: bool = False) -> Charge:
        """What the management process gets."""
        charge = self._charge(0, factory, self._receiving, [self._management, self._calls], [])
        return replace(charge, standby=standby)

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
            snapshot=self.in_force.fd,
            slots=self.slots.fd,
            counters=self.counters.fd,
            channel=end.fileno(),
            listeners=tuple(each.fileno() for each in listeners),
            neighbours=tuple(each.fileno() for each in neighbours),
            place=place,
            factory=factory,
            openssl=self._openssl,
            servers=self.servers.fd,
        )

    def clean_up_after_relay(self, page: int, pid: int) -> None:
        """What a relay held that has ended goes back at once; what it counted is kept."""
        self.slots.clear_after(pid)
        self.counters.fold(page)
        self.servers.page(page).clear()

    def stop_listening(self) -> None:
        """From now on connections are refused, not left waiting (once the relays have closed theirs too)."""
        for group in self.in_force.groups:
            sockets.close_all(group)

    def close(self) -> None:
        """Let go of everything, when no child is left."""
        self.stop_listening()
        sockets.close_all((self._management, self._calls, self._sending, self._receiving))
        sockets.calls_path(self.settings.store).unlink(missing_ok=True)
        os.close(self.in_force.fd)
        os.close(self._openssl)
        self.slots.close()
        self.counters.close()
        self.servers.close()

    def announcement(self) -> list[str]:
        """One line for each listener, and one for management."""
        lines = [
            f"listening on {_url(listener.tls, group[0])}"
            for listener, group in zip(self.settings.listeners, self.in_force.groups, strict=True)
        ]
        return [*lines, f"management on {_url(self.settings.management.tls, self._management)}"]

    def _server_states(self) -> list[dict[str, str]]:
        """What relays are told of each upstream's servers, and what they have seen themselves."""
        number = self.in_force.snapshot.number
        said = self.servers.page(0).read(number)
        known = seen(self.settings, b"" if said is None else said.states, self.servers.relays(number))
        return [
            {"upstream": one.upstream, "server": one.address, "state": one.trouble or "used"} for one in known
        ]

    def status(self) -> dict[str, Any]:
        """Its part of what ``keystile status`` shows."""
        return {
            "configuration": self.in_force.snapshot.number,
            "file": str(self.settings.file),
            "slots_taken": self.slots.taken(),
            "slots_highest": self.slots.highest(),
            "listeners": [
                {"address": sockets.address_of(group[0]), "tls": listener.tls is not None}
                for listener, group in zip(self.settings.listeners, self.in_force.groups, strict=True)
                if group[0].fileno() >= 0
            ],
            "management": sockets.address_of(self._management),
            "store": self.settings.store_name,
            "upstream_servers": self._server_states(),
            "restarts": self.counters.restarts,
        }


def _address(listener: Listener) -> tuple[str, int]:
    return listener.host, listener.port


def _others(groups: tuple[list[socket.socket], ...], place: int) -> list[socket.socket]:
    """Of the other relays: all of the first listener, then all of the second …"""
    return [each for group in groups for at, each in enumerate(group, 1) if at != place]


def _opened(fds: list[int]) -> list[socket.socket]:
    """Sockets that do not block, behind inherited descriptors."""
    opened = [socket.socket(fileno=fd) for fd in fds]
    for each in opened:
        each.setblocking(False)
    return opened


def _url(tls: Tls | None, opened: socket.socket) -> str:
    return f"{'https' if tls else 'http'}://{sockets.address_of(opened)}"
