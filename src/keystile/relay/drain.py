"""How a relay stops serving: in which order, and how long it waits for whom.

Law: order and time; what a connection or a request does at its end stands with them. The steps, after ``leave`` (from
which on every answer is its connection's last):

    nobody is accepted any more → who has connected has a last moment for a request → idle connections end
    → requests in flight finish, within ``drain_timeout`` → tunnels get their end, the rest is cut → management is told

HTTP/1.1 has no way to tell an idle client that its next request will not be read: whenever its connection ends, a
request may be on its way. So the last moment covers what was sent before accepting ended; and where another process
serves in this one's place (``replaced``), nothing hurries, and idle connections stay nearly as long as requests may:
their next answer ends them, and no request is lost. Who comes later than that finds the connection ended (FIN) and
not reset, or is told 503: either says that nothing was done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from keystile.relay.refusal import Refusal

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway

LAST_MOMENT: Final = 0.3
"""Seconds that a request may be on its way to us when accepting ends."""
FAREWELL: Final = 2.0
"""Seconds before the end of ``drain_timeout`` when idle connections of a relay that was replaced end."""
LAST_WORDS: Final = 1.0
"""Seconds that management may take for what is left to tell of keys (100,000 take 0.6 s)."""
TURNS: Final = 20
"""Turns of the loop in which a connection that was accepted just now comes to be counted: it takes a few."""
_PAUSE: Final = 0.02


async def drain(gateway: Gateway) -> None:
    """Accept nobody, answer what is in flight, for at most ``drain_timeout``; then cut what is left."""
    if not gateway.draining:
        gateway.leave()
    now = gateway.loop.time
    give_up = now() + gateway.settings.limits.drain_timeout
    await gateway.accept_no_more()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    last_moment = max(now() + LAST_MOMENT, give_up - FAREWELL) if gateway.replaced else now() + LAST_MOMENT
    # Two collections are watched, and only while stopping: looking is simpler than signalling.
    while gateway.crowd.present and now() < min(last_moment, give_up):  # noqa: ASYNC110
        await asyncio.sleep(_PAUSE)
    gateway.turn_newcomers_away()
    while (gateway.in_flight or gateway.connections) and now() < give_up:
        for client in list(gateway.connections):
            client.close_if_idle()
        await asyncio.sleep(_PAUSE)
        # Only now: what had come before is served.
        gateway.refusing = True
    await _end_tunnels(gateway)
    gateway.close()
    await _tell_the_rest(gateway)


async def _tell_the_rest(gateway: Gateway) -> None:
    """The channel holds a few thousand keys; where nobody reads it, what is left is dropped and counted."""
    give_up = gateway.loop.time() + LAST_WORDS
    while gateway.hand_over_last() and gateway.loop.time() < give_up:  # noqa: ASYNC110 - as above
        await asyncio.sleep(_PAUSE / 10)
    gateway.recorder.uses.give_up()
    gateway.hand_over_last()


async def _end_tunnels(gateway: Gateway) -> None:
    """An orderly end: both sides may tell it from a connection that broke."""
    tunnels = list(gateway.tunnels)
    for tunnel in tunnels:
        tunnel.end(Refusal.DRAINING)
    if tunnels:
        await asyncio.sleep(_PAUSE)
