"""Units of addresses, asked for and given back by hosts that share one server."""

from __future__ import annotations

from keystile.cluster.units import SLOW_SECONDS, TOLD_SECONDS
from keystile.limits.slots import FULL
from tests.cluster.world import LEASE, NAMES

A, _ = NAMES


def test_a_unit_that_is_held_is_taken_without_asking(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=20)
    one = w.hosts[0]
    one.requests(A, 1)
    assert len(one.rows[A]) == 1
    asked = one.holder.asked
    for _ in range(4):  # a quarter of what was free came along
        assert one.request(A) >= 0
    assert one.holder.asked == asked


def test_all_units_of_the_cap_can_be_used_from_any_host(world) -> None:  # type: ignore[no-untyped-def]
    w = world(hosts=4, cap=20)
    for at in range(20):
        w.hosts[at * 7 % 4].request(A)
        w.deliver()
    assert w.in_flight(A) == 20
    w.hosts[0].request(A)
    w.deliver()
    assert w.in_flight(A) == 20


def test_idle_units_of_another_host_come_when_they_are_needed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    one.requests(A, 4)
    for _ in range(4):
        one.finish(A)
    assert w.server.data.units  # they are leased still
    two.requests(A, 4)
    assert len(two.rows[A]) == 4


def test_a_unit_that_comes_free_goes_to_the_host_that_waits(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    one.requests(A, 4)
    two.requests(A, 1)
    assert two.waiting[A] == 1
    one.finish(A)
    w.deliver()
    assert len(two.rows[A]) == 1


def test_full_memory_lends_nothing_and_leaves_what_is_held(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=8)
    one = w.hosts[0]
    one.requests(A, 1)
    w.server.full = True
    held = one.slots.leases[A].held
    for _ in range(held + 1):
        one.requests(A, 1)
    assert len(one.rows[A]) == held
    assert one.slots.lends_nothing()
    w.pass_time(0.5)
    assert len(one.rows[A]) == held
    w.server.full = False
    w.pass_time(1.5)
    one.requests(A, 1)
    assert len(one.rows[A]) > held


def _all_idle(w) -> None:  # type: ignore[no-untyped-def]
    """The first host holds all four units, and none is in use."""
    one = w.hosts[0]
    one.requests(A, 4)
    for _ in range(4):
        one.finish(A)


def _give_what_is_idle(w) -> None:  # type: ignore[no-untyped-def]
    """Its rounds give the units back; what it says stays on its way."""
    one = w.hosts[0]
    while one.slots.leases and one.slots.leases[A].held:
        w.now += 0.1
        one.holder.beat()


def test_units_that_are_on_their_way_back_when_somebody_lacks_one_are_not_missed(world) -> None:  # type: ignore[no-untyped-def]
    """The server has been asked before the giving came to it: who gave says so once it has arrived."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    _give_what_is_idle(w)
    two.request(A)
    two.wire.arrive()  # none is free, and the first host is told that somebody lacks one
    while one.wire.back:
        one.wire.come_back()
    w.deliver()
    assert len(two.rows[A]) == 1


def test_a_part_that_is_on_its_way_back_is_not_missed_either(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    one.request(A)  # stays in flight
    one.slots.leases[A].peak = 1
    while one.slots.leases[A].held > 1:
        w.now += 0.1
        one.holder.beat()
    two.request(A)
    two.wire.arrive()
    while one.wire.back:
        one.wire.come_back()
    w.deliver()
    assert len(two.rows[A]) == 1


def test_once_the_giving_has_arrived_who_lacks_one_is_told_of_the_next_only(world) -> None:  # type: ignore[no-untyped-def]
    """Else two who lack a unit that does not exist would ask each other for ever."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    w.pass_time(5.0)
    one.requests(A, 4)
    two.requests(A, 1)
    asked = two.holder.asked
    w.deliver()
    assert (len(two.rows[A]), two.holder.asked) == (0, asked)


def test_nobody_is_refused_by_an_answer_that_is_older_than_his_patience(world) -> None:  # type: ignore[no-untyped-def]
    """Whatever was told or lost meanwhile: the server is asked once more, and what it says then counts."""
    w = world(cap=4)
    one, two = w.hosts
    _all_idle(w)
    two.request(A)
    two.wire.arrive()
    one.wire.back.clear()  # what the first host is told is lost
    w.server.data.lacking.clear()  # and forgotten, as after 500 ms
    while two.wire.back:
        two.wire.come_back()
    _give_what_is_idle(w)
    w.deliver()
    assert two.waiting[A] == 1
    two.holder.ask_finally(two.slots.lease_of(A))
    assert two.waiting[A] == 1, "not before it has been answered"
    w.deliver()
    assert len(two.rows[A]) == 1


def test_who_is_out_of_patience_while_an_answer_is_on_its_way_waits_for_it(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    _, two = w.hosts
    two.request(A)
    two.wire.arrive()  # lent; not known here yet
    two.holder.ask_finally(two.slots.lease_of(A))
    w.deliver()
    assert len(two.rows[A]) == 1


def test_the_last_answer_is_believed(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    one.requests(A, 4)
    two.requests(A, 1)
    two.holder.ask_finally(two.slots.lease_of(A))
    w.deliver()
    assert two.waiting[A] == 0
    assert not two.rows[A]
    assert two.request(A) == FULL


def _lacking(w, *hosts) -> None:  # type: ignore[no-untyped-def]
    """The first host has all four units in use; these wait for one each."""
    for _ in range(4):
        w.hosts[0].request(A)
        w.deliver()
    for host in hosts:
        host.requests(A, 1)


def test_what_comes_back_goes_to_those_who_lack_it_and_none_of_them_asks_again(world) -> None:  # type: ignore[no-untyped-def]
    w = world(hosts=3, cap=4)
    one, two, three = w.hosts
    _lacking(w, two, three)
    asked = [host.holder.asked for host in w.hosts]
    for host in (two, three):
        one.finish(A)
        w.deliver()
        assert len(host.rows[A]) == 1, "first come, first served"
    assert [host.holder.asked for host in w.hosts] == asked
    assert w.in_flight(A) == 4


def test_who_has_told_all_that_it_lacks_units_asks_nobody_again_for_a_while(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    two = w.hosts[1]
    _lacking(w, two)
    two.requests(A, 10)
    assert two.holder.asked == 1
    w.pass_time(TOLD_SECONDS + 0.01)
    two.requests(A, 1)
    assert two.holder.asked == 2


def test_who_lacks_more_than_it_has_said_says_so_when_it_has_what_it_said(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    _lacking(w, two, two, two)
    for _ in range(3):
        one.finish(A)
        w.deliver()
    assert len(two.rows[A]) == 3
    assert two.holder.asked == 2


def test_who_is_passed_units_learns_who_else_lacks_some(world) -> None:  # type: ignore[no-untyped-def]
    """The third had none when the second asked; what it has to spare later is the second's all the same."""
    w = world(hosts=3, cap=4)
    one, two, three = w.hosts
    _lacking(w, three, two)
    one.finish(A)
    w.deliver()
    assert len(three.rows[A]) == 1
    three.finish(A)
    w.deliver()
    assert len(two.rows[A]) == 1


def test_who_is_lent_units_learns_who_lacks_some_and_gets_no_more_than_it_needs(world) -> None:  # type: ignore[no-untyped-def]
    w = world(hosts=3, cap=4)
    one, two, three = w.hosts
    _lacking(w, two)
    one.wire.close()
    w.hosts.remove(one)  # it dies
    two.waiting.clear()
    w.pass_time(LEASE - 0.3)
    two.requests(A, 1)
    w.pass_time(0.3)
    for _ in range(3):
        three.requests(A, 1)
        three.finish(A)
        w.deliver()
    assert len(two.rows[A]) == 1


def test_one_that_asks_by_an_earlier_version_is_told_that_a_unit_came_free_and_asks(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one, two = w.hosts
    _lacking(w, two)
    w.server.data.lacking.clear()  # its scripts noted nothing
    one.finish(A)
    w.deliver()
    assert len(two.rows[A]) == 1
    assert two.holder.asked == 2


def test_what_is_passed_on_to_another_holder_changes_nothing(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    two = w.hosts[1]
    two.holder.heard(b"g" + b"another!" + b"\x01" + A)
    assert two.holder.held == 0


def _overtaken(w) -> None:  # type: ignore[no-untyped-def]
    """What the first host gives is on its way when the last question of the second comes: the server stood still."""
    one, two = w.hosts
    _all_idle(w)
    two.request(A)
    two.wire.arrive()
    while one.wire.back:
        one.wire.come_back()  # it hears of it, and gives: nothing of that arrives
    while two.wire.back:
        two.wire.come_back()
    w.now += 0.2
    two.holder.ask_finally(two.slots.lease_of(A))


def test_an_answer_that_took_long_is_not_believed_for_others_may_not_have_been_heard(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    _, two = w.hosts
    _overtaken(w)
    w.now += SLOW_SECONDS + 0.01
    two.wire.arrive()
    while two.wire.back:
        two.wire.come_back()
    assert two.waiting[A] == 1
    w.deliver()
    assert len(two.rows[A]) == 1


def test_of_answers_that_take_long_the_second_is_believed(world) -> None:  # type: ignore[no-untyped-def]
    """A server that is far away, or busy all the time, keeps nobody waiting for ever."""
    w = world(cap=4)
    _, two = w.hosts
    _lacking(w, two)
    for waits in (1, 0):
        two.holder.ask_finally(two.slots.lease_of(A))
        w.now += SLOW_SECONDS + 0.01
        w.deliver()
        assert two.waiting[A] == waits
    assert two.request(A) == FULL


def test_what_nobody_waits_for_any_more_is_no_reason_to_refuse_who_comes_later(world) -> None:  # type: ignore[no-untyped-def]
    """Who asked has had a unit of his own host. The answer, that none is free, is nobody's; its patience was all's."""
    w = world(cap=4)
    one, two = w.hosts
    two.requests(A, 1)
    one.requests(A, 3)
    for _ in range(3):
        one.finish(A)
    two.request(A)
    two.wire.arrive()
    two.finish(A)
    w.deliver()
    while len(two.rows[A]) < two.slots.leases[A].held:
        two.request(A)
    assert w.in_flight(A) == 2, "the others lie idle on the first host"
    two.lose_patience()
    two.wire.arrive()
    while two.wire.back:
        two.wire.come_back()
    assert two.request(A) != FULL
    w.deliver()
    assert len(two.rows[A]) == 3
