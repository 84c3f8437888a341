"""A network that is split, so that two servers are the primary for their hosts: by the rules of ``min_replicas``.

Three servers: the old primary, the one that is promoted, and a third, which follows one of the two at a time.
"""

from __future__ import annotations

import copy
import random

import pytest

from tests.cluster.model import ModelServer
from tests.cluster.world import LEASE, NAMES, Host, World

A, _ = NAMES
CAP = 4


class Split:
    """Hosts on both sides. ``third``: whom the third server follows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.old: ModelServer = world.server
        self.new = world.new_server()
        self.new.data = copy.deepcopy(self.old.data)
        self.new.replicas, self.old.replicas = 0, 1
        self.near, *self.far = world.hosts

    def third_follows_the_new_one(self) -> None:
        self.old.replicas, self.new.replicas = 0, 1

    def loses_the_old_one(self, host: Host) -> None:
        """Its next connection goes to the new one."""
        if host.wire is not None:
            host.wire.close()
            host.holder.lost()
            host.wire = None

    def connect(self) -> None:
        for host in self.world.hosts:
            side = self.old if host is self.near else self.new
            self.world.server, self.world.incarnation = side, b"old" if side is self.old else b"new"
            host.connect()

    def pass_time(self, seconds: float, most: list[int], dice: random.Random) -> None:
        """Everybody wants as much as there is; ``most`` gets how many were in flight at once."""
        w, end = self.world, self.world.now + seconds
        while w.now < end:
            w.now += 0.02
            for host in w.hosts:
                if dice.random() < 0.15:
                    host.holder.beat()
                if host.slots.lends_nothing() or not host.holder.name:
                    host.waiting.clear()
                elif dice.random() < 0.7:
                    host.request(A)
                if dice.random() < 0.1:
                    host.finish(A)
            self.connect()
            w.deliver()
            most.append(w.in_flight(A))


def split(w: World, seed: int) -> list[int]:
    """The most in flight at each moment: the network splits, and at some moment the third goes over."""
    dice = random.Random(seed)
    for host in w.hosts:
        host.requests(A, 1)
    assert w.in_flight(A) == 3
    side = Split(w)
    most: list[int] = []
    for host in side.far:
        side.loses_the_old_one(host)
    side.pass_time(dice.choice([0.0, 0.3, 1.5, 3.0]), most, dice)
    side.third_follows_the_new_one()
    side.pass_time(dice.choice([0.5, 1.2, 4.0]), most, dice)
    side.pass_time(4 * LEASE, most, dice)
    assert any(host.in_flight(A) for host in side.far), "the new side lends in the end"
    return most


@pytest.mark.parametrize("seed", range(12))
def test_whenever_the_third_goes_over_never_more_than_the_cap(world, seed: int) -> None:  # type: ignore[no-untyped-def]
    w = world(hosts=3, cap=CAP, min_replicas=1)
    assert max(split(w, seed)) <= CAP


def test_without_the_rule_both_sides_lend(world) -> None:  # type: ignore[no-untyped-def]
    """What the test above would see."""
    assert max(split(world(hosts=3, cap=CAP), 0)) > CAP


def test_a_primary_that_nobody_follows_lends_nothing_and_what_is_in_flight_is_cut_in_time(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=CAP, min_replicas=1)
    one = w.hosts[0]
    one.requests(A, 1)
    w.server.replicas = 0
    w.pass_time(2 * LEASE)
    assert one.slots.lends_nothing()
    assert not one.rows[A]
    assert one.holder.doubt == "0 replicas follow it, and min_replicas is 1"
    w.server.replicas = 1
    w.pass_time(2 * LEASE)
    one.waiting.clear()
    one.requests(A, 1)
    assert len(one.rows[A]) == 1
    assert one.holder.doubt is None


def test_a_new_primary_lends_nothing_for_a_lease_time_from_when_it_is_followed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=CAP, min_replicas=1)
    w.server.replicas = 0
    w.incarnation = b"another"
    for host in w.hosts:
        host.wire.close()
        host.holder.lost()
    w.pass_time(5 * LEASE)
    w.server.replicas = 1
    for host in w.hosts:
        host.connect()
    w.deliver()
    one = w.hosts[0]
    assert one.holder.name
    assert one.slots.deaf_until >= w.now + 2 * LEASE - 0.01


def test_what_is_held_stays_held_while_a_new_primary_is_not_followed_yet(world) -> None:  # type: ignore[no-untyped-def]
    """A fail-over that is done within the lease cuts nothing."""
    w = world(cap=CAP, min_replicas=1)
    one = w.hosts[0]
    one.requests(A, 1)
    w.fail_over()
    w.server.replicas = 0
    for _ in range(3):
        one.connect()
        w.deliver()
        w.tick(0.1)
    w.server.replicas = 1
    w.pass_time(0.3)
    assert len(one.rows[A]) == 1
    assert one.holder.lapses == 0
