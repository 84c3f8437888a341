"""Commands about many addresses."""

from __future__ import annotations

from keystile.cluster import batches
from keystile.limits.lease import Lease


def leases(count: int) -> list[Lease]:
    made = [Lease(b"%08d" % at) for at in range(count)]
    for at, lease in enumerate(made):
        lease.held = at + 1
    return made


def test_no_command_names_more_addresses_than_a_server_should_handle_at_once() -> None:
    some = leases(batches.MOST + 1)
    for commands in (
        batches.move_commands(b"t", b"h", b"b", some),
        batches.keep_commands(b"t", b"h", some),
        batches.give_commands(b"t", b"h", [(lease, 1, b"") for lease in some]),
    ):
        assert [len(keys) for keys, _ in commands] == [batches.MOST, 1]


def test_each_address_has_its_units_in_the_order_of_the_keys() -> None:
    some = leases(2)
    assert batches.move_commands(b"t", b"h", b"b", some) == [
        ([b"{keystile}:t:a:00000000", b"{keystile}:t:a:00000001"], [b"t", b"h", b"b", b"1", b"2"])
    ]
    assert batches.keep_commands(b"t", b"h", some)[0][1] == [b"t", b"h", b"1", b"2"]
    assert batches.give_commands(b"t", b"h", [(some[1], 3, b"asker---")])[0][1] == [b"t", b"h", b"3", b"asker---"]


def test_of_nothing_nothing_is_said() -> None:
    assert not batches.move_commands(b"t", b"h", b"b", [])
    assert not batches.give_commands(b"t", b"h", [])
