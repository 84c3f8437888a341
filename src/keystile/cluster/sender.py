"""A holder's words with the server: a connection to send by, answers that come back, and who is told.

Law: no event loop and no sockets. An answer that comes when its connection is no more is not heard.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keystile.cluster.scripts import EPOCH_KEY, Script, ServerError, alive_key
from keystile.limits.lease import Lease, LeasedSlots

log = logging.getLogger("keystile.cluster")


class Port(Protocol):
    """A connection to the server on which the scripts are known and the holder's channel is subscribed to."""

    def call(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], answered: Callable[[object], None]
    ) -> None:
        """Send it; ``answered`` gets what the script returns, or a ``ServerError``."""

    def confirm(self, replicas: int, milliseconds: int, answered: Callable[[object], None]) -> None:
        """``answered`` gets how many replicas have what was written on this connection, after so long at the latest."""

    def close(self) -> None:
        """Close it. No answer comes after that."""


class Watcher(Protocol):
    """Who has requests on the units."""

    def lapsed(self) -> None:
        """Cut every request that has a slot: nobody answers for them any more."""

    def changed(self, name: bytes | None) -> None:
        """It is worth trying again to take a slot: of this address, or of all."""

    def none_free(self, name: bytes) -> None:
        """No unit of this address is free; others have been told, and may free one in a moment."""

    def need(self, name: bytes) -> int:
        """How many requests of this address wait for a unit."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a holder holds for, and by which rules: ``cap`` gives the one in force, ``lease_time`` is in seconds."""

    slots: LeasedSlots
    watcher: Watcher
    cap: Callable[[], int]
    lease_time: float
    min_replicas: int = 0


class Sender(ABC):
    """See the module.

    ``name``: of the holder whose units are counted on; empty where none is. For metrics: ``commands`` and ``held``.
    """

    def __init__(self, terms: Terms) -> None:
        self.slots = terms.slots
        self.min_replicas = terms.min_replicas
        self.lease_time = terms.lease_time
        self.name = b""
        self._watcher = terms.watcher
        self._cap = terms.cap
        self._port: Port | None = None
        self._next = b""  # of the holder that is being opened
        self._token = b""
        self.commands = self.held = 0

    @abstractmethod
    def _drop(self) -> None:
        """This connection is of no more use: begin another, with another name."""

    def _is_holding(self) -> bool:
        """Whether it has a name on a connection, and no other is being opened."""
        return bool(self._port is not None and self.name and not self._next)

    def _set_held(self, lease: Lease, units: int) -> None:
        self.held += units - lease.held
        lease.held = units

    def _milliseconds(self) -> int:
        """After which the server lets go of what a silent holder had: see ``holder.py`` for the twofold."""
        return round(self.lease_time * 1000) * (2 if self.min_replicas else 1)

    def _keys(self, addresses: Sequence[bytes] = ()) -> Sequence[bytes]:
        return (EPOCH_KEY, alive_key(self._token), *addresses)

    def _call(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        answered: Callable[[object], None] = lambda reply: None,
    ) -> None:
        """Send it on the connection as it is now; an answer that comes when that is no more is not heard."""
        if self._port is not None:
            self.commands += 1
            self._port.call(script, keys, args, self._hearing(self._port, script.name, answered))

    def _confirm(self, answered: Callable[[object], None]) -> None:
        """Have replicas confirm what has been sent: that they follow this server still, so no other is the primary."""
        if self._port is not None:
            self.commands += 1
            milliseconds = round(self.lease_time * 250)
            self._port.confirm(self.min_replicas, milliseconds, self._hearing(self._port, "wait", answered))

    def _hearing(self, port: Port, name: str, answered: Callable[[object], None]) -> Callable[[object], None]:
        def reply(value: object) -> None:
            if port is not self._port:
                return
            full = name == "ask" and isinstance(value, ServerError) and str(value).startswith("OOM")
            if isinstance(value, ServerError) and not full:
                log.warning("slots: the server refuses %s: %s", name, value)
                self._drop()
            else:
                answered(value)

        return reply
