"""The one place where an exchange ends, whatever happened to it.

Law: give the slot back if it is still held, record once, and let the client's connection go on or
close. The upstream connection has been given back or cut by then.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange


def free_slot(exchange: Exchange) -> None:
    """Give the slot back; nothing when there is none any more.

    Where the last bytes of an answer go out in one small write, this comes just before it: the client may call
    again, through another relay, in the moment between that write and what we do after it, and must not be
    refused below its cap. A client that reads slowly keeps its slot until it has read.
    """
    row = exchange.slot_row
    if row >= 0:
        exchange.slot_row = -1
        exchange.gateway.slots.give_back(row)


def end(exchange: Exchange) -> None:
    """End ``exchange``. A second call does nothing: both sides may report the same event."""
    if exchange.ended:
        return
    exchange.ended = True
    gateway = exchange.gateway
    if exchange.slot_row >= 0:
        free_slot(exchange)
    elif exchange.waits_until and gateway.waiting is not None:
        gateway.waiting.leave(exchange)
    gateway.in_flight -= 1
    exchange.ended_at = monotonic()
    gateway.recorder.record(exchange)
    exchange.client.finished(exchange.keep_alive and not exchange.cut)
