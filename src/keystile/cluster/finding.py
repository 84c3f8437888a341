"""Which of several servers is the primary, or which one Sentinels say it is.

Law: questions and a choice; the choice is made anew for each connection. What is found may be wrong (a network that is
split has two sides); that nothing is lent twice then is ``holder.py``'s, by ``min_replicas``.

Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/ (steps 1 to 3).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from keystile.cluster.greeting import Greeter, Unusable, facts
from keystile.cluster.scripts import ServerError
from keystile.config.model import SharedSlots

Place = tuple[str, int]
T = TypeVar("T")
#: Of the time for a connection, for asking who is the primary: one that does not answer must not use up all of it.
SHARE: Final = 0.4


async def primary(settings: SharedSlots, greeter: Greeter) -> Place:
    """Where the primary is. Raises Unusable, and what keeps the only server from being asked."""
    if settings.sentinel is not None:
        return await _by_sentinels(settings, settings.sentinel, greeter)
    if not settings.more:
        return settings.host, settings.port
    found = await _each(settings, lambda place: _replication(greeter, place))
    return chosen({place: each for place, each in found.items() if each.get("role") == "master"})


def chosen(masters: Mapping[Place, Mapping[str, str]]) -> Place:
    """Of those that say that they are the primary; one that another was promoted in the place of is none any more."""
    followed = {each.get("master_replid2") for each in masters.values()}
    left = [place for place, each in masters.items() if each.get("master_replid") not in followed]
    if len(left) != 1:
        raise Unusable("none of the servers is the primary" if not left else f"{len(left)} servers are primaries")
    return left[0]


async def _replication(greeter: Greeter, place: Place) -> dict[str, str]:
    made = await greeter.connect(*place, _nothing, _nothing)
    try:
        return await facts(made, b"replication")
    finally:
        made.close()


async def _by_sentinels(settings: SharedSlots, name: str, greeter: Greeter) -> Place:
    """What most of those say who know it; of as many, the first in the list."""
    said = await _each(settings, lambda place: _asked(greeter, place, name.encode()))
    known = Counter(each for each in said.values() if each is not None)
    if not known:
        raise Unusable(f"no Sentinel knows a primary called {name}")
    return known.most_common(1)[0][0]


async def _asked(greeter: Greeter, place: Place, name: bytes) -> Place | None:
    made = await greeter.connect(*place, _nothing, _nothing, sentinel=True)
    try:
        found = await made.ask(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name)
    finally:
        made.close()
    return None if found is None else (found[0].decode("ascii"), int(found[1]))


async def _each(settings: SharedSlots, ask: Callable[[Place], Awaitable[T]]) -> dict[Place, T]:
    """What each says who answers in time, in the order of the list. Raises what the first said where none does."""

    async def bounded(place: Place) -> T:
        async with asyncio.timeout(settings.lease_time * SHARE):
            return await ask(place)

    said: Sequence[T | BaseException] = await asyncio.gather(
        *(bounded(place) for place in settings.servers), return_exceptions=True
    )
    found: dict[Place, T] = {}
    for place, each in zip(settings.servers, said, strict=True):
        if not isinstance(each, BaseException):
            found[place] = each
        elif not isinstance(each, (OSError, ServerError, Unusable)):
            raise each
    if not found and isinstance(said[0], BaseException):
        raise said[0]
    return found


def _nothing(*_: object) -> None:
    """Nobody listens."""
