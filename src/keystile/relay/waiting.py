"""Requests that wait for a slot (``over_limit: {wait_up_to, waiting_per_ip}``).

Law: first come, first served for each address on one relay, and newcomers
behind those who wait. What was decided before the wait is decided again after
it: a key may have been deleted meanwhile. While nobody waits nothing runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from keystile.config.model import Waiting
from keystile.relay.admit import admit
from keystile.relay.refusal import Refusal

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.gateway import Gateway

#: Seconds between attempts. Slots come back on other relays too, so we ask rather than wait to be told.
RETRY_SECONDS: Final = 0.003


#: The rules of a line that takes nobody any more: ``over_limit`` has become ``refuse`` while some were waiting.
NOBODY_WAITS: Final = Waiting(0.0, 0)


class WaitingRoom:
    """A line for each address of which a request waits. ``rules`` may change: they are for who comes then."""

    def __init__(self, gateway: Gateway, rules: Waiting) -> None:
        self._gateway = gateway
        self.rules = rules
        self._lines: dict[bytes, deque[Exchange]] = {}
        self._next: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def has_line(self, address: bytes) -> bool:
        """Whether a request of the address (its slot name) waits already."""
        return address in self._lines

    def length(self, address: bytes) -> int:
        """How many requests of the address wait."""
        line = self._lines.get(address)
        return 0 if line is None else len(line)

    def enter(self, exchange: Exchange) -> bool:
        """Let ``exchange`` wait; False when as many of its address wait as may."""
        line = self._lines.get(exchange.note.peer.slot)
        if self.length(exchange.note.peer.slot) >= self.rules.waiting_per_ip:
            return False
        if line is None:
            line = self._lines[exchange.note.peer.slot] = deque()
        exchange.waits_until = self._gateway.loop.time() + self.rules.wait_up_to
        line.append(exchange)
        if self._next is None:
            self._next = self._gateway.loop.call_later(RETRY_SECONDS, self._retry)
        return True

    def leave(self, exchange: Exchange) -> None:
        """``exchange`` has ended: it waits no more."""
        line = self._lines.get(exchange.note.peer.slot)
        if line is not None and exchange in line:
            line.remove(exchange)
            if not line:
                del self._lines[exchange.note.peer.slot]

    def _retry(self) -> None:
        """Serve each line from its front, as far as slots go."""
        self._next = None
        now = self._gateway.loop.time()
        for address in list(self._lines):
            self._serve(address, now)
        if self._lines and self._next is None:
            self._next = self._gateway.loop.call_later(RETRY_SECONDS, self._retry)

    def _serve(self, address: bytes, now: float) -> None:
        while (line := self._lines.get(address)) is not None:
            exchange = line[0]
            if exchange.answered:  # refused meanwhile; its end is on its way
                self.leave(exchange)
                continue
            if exchange.configuration:  # it is logged: by the rules that decide now
                exchange.configuration = self._gateway.configuration
            refusal = admit(self._gateway, exchange)
            asking = self._gateway.asking
            if refusal is Refusal.COUNT_UNAVAILABLE and asking is not None and asking.asks(exchange):
                refusal = Refusal.TOO_MANY_AT_ONCE  # as far as is known; what the answer is, the next look will see
            if refusal is Refusal.TOO_MANY_AT_ONCE and now < exchange.waits_until:
                return
            self.leave(exchange)
            exchange.waited = monotonic() - exchange.began
            if refusal is None:
                exchange.forward()
            else:
                exchange.refuse(refusal)
