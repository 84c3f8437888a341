"""The one place where an exchange ends, whatever happened to it.

Law: give the slot back, record once, and let the client's connection go on or
close. The upstream connection has been given back or cut by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange


def end(exchange: Exchange) -> None:
    """End ``exchange``. A second call does nothing: both sides may report the same event."""
    if exchange.ended:
        return
    exchange.ended = True
    gateway = exchange.gateway
    if exchange.slot_row >= 0:
        gateway.slots.give_back(exchange.slot_row)
    elif exchange.waits_until and gateway.waiting is not None:
        gateway.waiting.leave(exchange)
    gateway.in_flight -= 1
    gateway.recorder.record(exchange)
    exchange.client.finished(exchange.keep_alive and not exchange.cut)
