"""Which server of several is next: in turn, the one with the least in flight, or always the same for a key or address.

Law: orders. Which servers are used at all is ``upstreams.py``'s. Each way stands in a class of its own, chosen when a
configuration is taken, so that none costs a request anything that it does not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from math import gcd, log
from typing import TYPE_CHECKING, Final

from keystile.config.model import Server, Upstream
from keystile.relay.member import NO_POOL, Member
from keystile.relay.upstreams import OneServer, UpstreamGroup
from keystile.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange

#: Turns in one round of servers whose shares differ, at most (but for one of each).
LONGEST_ROUND: Final = 2000
#: Parts into which the share of a server is cut while it grows.
PARTS: Final = 20
#: Names whose order of servers is remembered; then all are forgotten.
REMEMBERED: Final = 4096


class InTurn(UpstreamGroup):
    """One after the other, as often as their weights say."""

    def __init__(self, rules: Upstream, members: Sequence[Member]) -> None:
        self._next = 0
        self._nobody = [_nobody(rules)]
        super().__init__(rules, members)

    def take(self, exchange: Exchange) -> UpstreamConnection | None:
        """A connection to the one whose turn it is."""
        turns = self._turns
        self._next += 1
        member = turns[self._next % len(turns)]
        connection = member.pool.take()
        if connection is not None:
            member.asked += 1
        return connection

    def order(self, exchange: Exchange) -> Iterator[Member]:
        """From the one whose turn it is on."""
        turns, seen = self._round, set()
        for at in range(len(turns)):
            member = turns[(self._next + at) % len(turns)]
            if member not in seen:
                seen.add(member)
                yield member

    def arrange(self, now: float) -> None:
        """Lay out a round. While nobody is used, or one should be tried, nobody has a connection ready."""
        self._round = spread([(member, member.share(now)) for member in self.usable])
        self._turns = self._round if self._round and not self.trial_due else self._nobody


class _Deciding(UpstreamGroup):
    """What needs a look at the servers at each request: counts, a cap, or who calls."""

    def take(self, exchange: Exchange) -> UpstreamConnection | None:
        """A connection to the first in order that has room; not before those who wait already."""
        return _from_first_with_room(self, exchange)


class InTurnWithRoom(InTurn):
    """In turn, but for those that have as many requests in flight as they may."""

    def take(self, exchange: Exchange) -> UpstreamConnection | None:
        """As ``_Deciding``, from the one whose turn it is."""
        self._next += 1
        return _from_first_with_room(self, exchange)


class LeastInFlight(_Deciding):
    """The one with the fewest requests of this relay in flight, for its weight; in turn where these are equal."""

    def __init__(self, rules: Upstream, members: Sequence[Member]) -> None:
        self._next = 0
        super().__init__(rules, members)

    def order(self, exchange: Exchange) -> Iterable[Member]:
        """By what they would have in flight with this one."""
        self._next += 1
        weighed = self._weighed
        first = self._next % len(weighed) if weighed else 0
        turned = weighed[first:] + weighed[:first]
        return [member for _, member in sorted((((m.pool.in_flight + 1) / share, m) for m, share in turned), key=_load)]

    def arrange(self, now: float) -> None:
        """Remember their shares."""
        self._weighed = [(member, member.share(now)) for member in self.usable]


class ByHash(_Deciding):
    """One server for each name, the same on every relay; when one leaves, only its own names move.

    Rendezvous hashing: each server has a number for each name, and the highest wins (Thaler and Ravishankar, 1996);
    with weights as Schindelhauer and Schomaker have them. ``hash_key``: the name is the key's id, and the address of
    who calls where no key is needed.
    """

    def __init__(self, rules: Upstream, members: Sequence[Member]) -> None:
        self._by_key = rules.balance == "hash_key"
        self._orders: dict[bytes, list[Member]] = {}
        super().__init__(rules, members)

    def order(self, exchange: Exchange) -> Iterable[Member]:
        """By their numbers for this caller's name."""
        key = exchange.key if self._by_key else None
        name = exchange.note.peer.slot if key is None else key.id.encode("ascii")
        order = self._orders.get(name)
        if order is None:
            if len(self._orders) >= REMEMBERED:
                self._orders.clear()
            numbers = [(number_of(name, member.name, share), member) for member, share in self._weighed]
            order = self._orders[name] = [member for _, member in sorted(numbers, key=_load, reverse=True)]
        return order

    def arrange(self, now: float) -> None:
        """Forget the orders: others are used now, or with other shares."""
        self._weighed = [(member, member.share(now)) for member in self.usable]
        self._orders.clear()


def _from_first_with_room(group: UpstreamGroup, exchange: Exchange) -> UpstreamConnection | None:
    if group.trial_due or group.line:
        return None
    for member in group.order(exchange):
        if member.has_room:
            connection = member.pool.take()
            if connection is not None:
                member.asked += 1
            return connection
    return None


def class_for(rules: Upstream) -> type[UpstreamGroup]:
    """The group for an upstream's settings: the one that costs a request the least."""
    if rules.balance == "least_in_flight" and len(rules.servers) > 1:
        return LeastInFlight
    if rules.balance in ("hash_key", "hash_address") and len(rules.servers) > 1:
        return ByHash
    if rules.max_in_flight is not None:
        return InTurnWithRoom
    counts = rules.breaker is not None and rules.breaker.even_the_last
    return InTurn if len(rules.servers) > 1 or counts else OneServer


def needs_counts(rules: Upstream) -> bool:
    """Whether it must be known how many requests each server has in flight."""
    return rules.max_in_flight is not None or (rules.balance == "least_in_flight" and len(rules.servers) > 1)


def spread(shares: list[tuple[Member, float]]) -> list[Member]:
    """A round in which each has turns by its share, as evenly spread as may be."""
    whole = all(share == int(share) for _, share in shares)
    parts = [max(1, round(share * (1 if whole else PARTS))) for _, share in shares]
    if sum(parts) > LONGEST_ROUND:
        parts = [max(1, part * LONGEST_ROUND // sum(parts)) for part in parts]
    divisor = gcd(*parts) or 1
    counts = [part // divisor for part in parts]
    places = [((turn + 0.5) / count, at) for at, count in enumerate(counts) for turn in range(count)]
    return [shares[at][0] for _, at in sorted(places)]


def number_of(name: bytes, server: str, share: float) -> float:
    """A server's number for a name; the same wherever and whenever it is worked out."""
    drawn = int.from_bytes(blake2b(name, digest_size=8, key=_digest(server)).digest(), "big")
    return -share / log((drawn + 0.5) / 2**64)


def _digest(server: str) -> bytes:
    return blake2b(server.encode("utf-8"), digest_size=16).digest()


def _load(pair: tuple[float, Member]) -> float:
    return pair[0]


def _nobody(rules: Upstream) -> Member:
    return Member(Server("nobody.invalid", 0), NO_POOL, rules)
