"""What a holder says and hears: by the connection as it is now, and by no other."""

from __future__ import annotations

from tests.cluster.world import NAMES

A, _ = NAMES


def test_an_answer_of_a_connection_that_is_no_more_is_not_heard(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    before = one.wire
    one.request(A)
    before.arrive()
    one.holder.lost()
    one.wire = None
    before.come_back()
    assert one.holder.held == 0
    w.pass_time(1.0)
    one.request(A)
    w.deliver()
    assert len(one.rows[A]) >= 1


def test_a_server_that_refuses_a_command_is_connected_to_anew(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    name = one.holder.name
    w.server.data.epoch["token"] = b"another"
    one.request(A)
    w.deliver()
    assert not one.wire.is_open
    w.pass_time(2.0)
    assert one.holder.name not in (b"", name)


def test_without_a_connection_nothing_is_sent(world) -> None:  # type: ignore[no-untyped-def]
    w = world(cap=4)
    one = w.hosts[0]
    one.holder.lost()
    sent = one.holder.commands
    one.request(A)
    one.holder.beat()
    assert one.holder.commands == sent
