"""Requests that wait until it is known whether there is a slot for them (``slots: valkey://…``).

Law: only where the host's own lease of an address is used up, or cannot be counted on, does a request come here; all
others have been decided on the spot. What was decided before the wait is decided again after it. And this is where
requests are cut that nobody answers for any more, since their units may be others' by now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from keystile.cluster.holder import Holder
from keystile.cluster.link import Link
from keystile.cluster.sender import Terms
from keystile.cluster.units import SLOW_SECONDS
from keystile.config.model import SharedSlots
from keystile.limits.lease import LeasedSlots
from keystile.relay.admit import admit
from keystile.relay.refusal import Refusal
from keystile.relay.tunnel import Tunnel

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.gateway import Gateway

log = logging.getLogger("keystile.relay")

#: Seconds for which a request waits after it is known that no unit is free but some may lie idle on other hosts.
PATIENCE: Final = 0.2
#: Seconds by which a timer may be early.
_TICK: Final = 0.002


class Asking:
    """A line for each address of which a request waits for an answer. Implements ``cluster.units.Watcher``."""

    def __init__(self, gateway: Gateway, slots: LeasedSlots, settings: SharedSlots) -> None:
        slots.per_host = settings.when_unreachable == "per_host"
        self.slots = slots
        self.holder = Holder(Terms(slots, self, lambda: gateway.cap, settings.lease_time, settings.min_replicas))
        self.link = Link(settings, self.holder)
        self.cut = 0
        self._gateway = gateway
        self._settings = settings
        self._lines: dict[bytes, deque[tuple[Exchange, float]]] = {}  # each with when it came (monotonic)
        self._patience: dict[bytes, asyncio.TimerHandle] = {}
        self._to_serve: set[bytes] = set()
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Begin to hold; wait until units are lent, but no longer than it takes to know that none will be."""
        self._gateway.spawn(self.link.run())
        try:
            async with asyncio.timeout(3 * self._settings.lease_time):
                await self._ready.wait()
                await asyncio.sleep(max(0.0, self.slots.deaf_until - self.slots.clock()))
        except TimeoutError:
            log.warning("slots are not counted over hosts yet: %s: %s", self._settings.address, self.link.trouble)

    def close(self) -> None:
        """Give everything back."""
        for timer in self._patience.values():
            timer.cancel()
        self.link.close()

    def refuses(self) -> bool:
        """Whether nobody lends now, and the rule is to refuse."""
        return self.slots.lends_nothing() and not self.slots.per_host

    def enter(self, exchange: Exchange, refusal: Refusal) -> bool:
        """Let ``exchange`` wait until it is known; False where it does not depend on that, or nobody can be asked."""
        if refusal is not Refusal.COUNT_UNAVAILABLE:
            return False
        self.holder.look()
        if self.refuses():
            return False
        name = exchange.note.peer.slot
        self._lines.setdefault(name, deque()).append((exchange, monotonic()))
        self._await(name)
        if self.slots.lends_nothing():
            self.changed(name)
        else:
            self.holder.ask(self.slots.lease_of(name))
        return True

    def asks(self, exchange: Exchange) -> bool:
        """Ask for one that waits elsewhere (``waiting.py``) and tries again; False where nobody can be asked."""
        self.holder.ask(self.slots.lease_of(exchange.note.peer.slot))
        return not self.refuses()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    # -- Watcher ----------------------------------------------------------------------------------

    def need(self, name: bytes) -> int:
        """How many requests of this address wait, here or in the line of those who are over the limit."""
        line, waiting = self._lines.get(name), self._gateway.waiting
        return (0 if line is None else len(line)) + (0 if waiting is None else waiting.length(name))

    def changed(self, name: bytes | None) -> None:
        """Try again, in this turn of the loop's next."""
        if self.holder.name:
            self._ready.set()
        if not self._to_serve and (name is None or name in self._lines):
            self._gateway.loop.call_soon(self._serve_all)
        self._to_serve.update(self._lines if name is None else {name} & self._lines.keys())

    def none_free(self, name: bytes) -> None:
        """Others have been told; ask once more when they have had time to answer, and believe that."""
        if name in self._lines and name not in self._patience:
            self._have_patience(name, PATIENCE)

    def _have_patience(self, name: bytes, seconds: float) -> None:
        due = monotonic() + seconds
        self._patience[name] = self._gateway.loop.call_later(seconds, self._out_of_patience, name, due)

    def _out_of_patience(self, name: bytes, due: float) -> None:
        """Who is first has waited so long, or only who stood before him; where we stood still, others may have, too."""
        del self._patience[name]
        now, line, lease = monotonic(), self._lines.get(name), self.slots.lease_of(name)
        if not line:
            return
        left = line[0][1] + PATIENCE - now
        if now - due > SLOW_SECONDS and not lease.doubted:
            left, lease.doubted = PATIENCE, True
        if left > _TICK:
            self._have_patience(name, left)
        else:
            self.holder.ask_finally(lease)

    def lapsed(self) -> None:
        """Cut every request that has a slot."""
        for client in list(self._gateway.connections):
            served = client.served
            exchange: object = served.exchange if isinstance(served, Tunnel) else served
            if exchange is None or exchange.slot_row < 0:  # type: ignore[attr-defined]
                continue
            self.cut += 1
            if isinstance(served, Tunnel):
                served.end(Refusal.COUNT_UNAVAILABLE)
            else:
                served.refuse(Refusal.COUNT_UNAVAILABLE)  # type: ignore[union-attr]

    # -- serving ----------------------------------------------------------------------------------

    def _serve_all(self) -> None:
        names, self._to_serve = self._to_serve, set()
        for name in names:
            self._serve(name)

    def _serve(self, name: bytes) -> None:
        """Decide on each of a line from its front, as far as it is known."""
        line = self._lines.get(name)
        while line:
            exchange, came = line[0]
            if exchange.ended or exchange.answered:
                line.popleft()
                continue
            try:
                if not self._decide(exchange, came):
                    break
            except Exception:
                log.exception("request %s failed", exchange.request_id.decode("ascii"))
                exchange.refuse(Refusal.INTERNAL_ERROR)
            line.popleft()
        if line is not None and not line:
            del self._lines[name]
            timer = self._patience.pop(name, None)
            if timer is not None:
                timer.cancel()
        self._await(name)

    def _decide(self, exchange: Exchange, came: float) -> bool:
        """False where it has to wait on."""
        gateway = self._gateway
        if exchange.configuration:  # it is logged: by the rules that decide now
            exchange.configuration = gateway.configuration
        is_early = self._is_early(exchange.note.peer.slot, came)  # before: what is believed ends while it is decided
        refusal = admit(gateway, exchange)
        if refusal is Refusal.COUNT_UNAVAILABLE and not self.refuses():
            self.holder.ask(self.slots.lease_of(exchange.note.peer.slot))
            return False
        if refusal is Refusal.TOO_MANY_AT_ONCE and is_early:
            self.none_free(exchange.note.peer.slot)
            return False
        exchange.waited = monotonic() - exchange.began
        if refusal is None:
            exchange.forward()
        elif refusal is not Refusal.TOO_MANY_AT_ONCE or gateway.waiting is None or not gateway.waiting.enter(exchange):
            exchange.refuse(refusal)
        return True

    def _is_early(self, name: bytes, came: float) -> bool:
        """Whether it would be refused since another one has waited long enough."""
        return self.slots.clock() < self.slots.lease_of(name).full_until and monotonic() - came < PATIENCE

    def _await(self, name: bytes) -> None:
        """Let the lease know whether somebody waits."""
        lease = self.slots.leases.get(name)
        if lease is None and name not in self._lines:
            return
        lease = self.slots.lease_of(name)
        lease.awaited = name in self._lines
        lease.final = lease.final and lease.awaited  # the next who waits shall have the whole time
        lease.doubted = lease.doubted and lease.awaited
        lease.heard = lease.cares()
        if lease.wanted and not lease.awaited:
            self.holder.share(lease)
