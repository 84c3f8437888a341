from __future__ import annotations

import dataclasses
import os

import pytest

from keystile.config.model import Server, Upstream
from keystile.limits.servers import DOWN, MOST_SERVERS, PAGE, UNKNOWN, UP, ServerTable, numbered
from tests.relay.running import settings


def test_what_management_writes_is_read_by_whoever_attaches_and_works_by_the_same_configuration() -> None:
    table = ServerTable.create(relays=2)
    other = ServerTable.attach(os.dup(table.fd))
    assert other.page(0).read(7) is None
    table.page(0).write(7, bytes([UP, DOWN, UNKNOWN]))
    said = other.page(0).read(7)
    assert said is not None
    assert (said.states, said.age < 60) == (bytes([UP, DOWN, UNKNOWN]), True)


def test_nothing_is_said_to_who_works_by_another_configuration() -> None:
    page = ServerTable.create(relays=1).page(0)
    page.write(7, bytes([DOWN]))
    assert page.read(6) is None
    assert page.read(8) is None
    page.write(8, bytes([UP, UP]))
    assert page.read(7) is None


def test_a_page_that_is_being_written_says_nothing() -> None:
    table = ServerTable.create(relays=1)
    page = table.page(1)
    page.write(7, bytes([DOWN]))
    page.clear()
    assert page.read(7) is None
    assert table.relays(7) == []


def test_relays_speak_for_themselves() -> None:
    table = ServerTable.create(relays=3)
    table.page(1).write(7, bytes([UP]))
    table.page(2).write(6, bytes([UP]))
    table.page(3).write(7, bytes([DOWN]))
    assert table.relays(7) == [bytes([UP]), bytes([DOWN])]
    with pytest.raises(ValueError, match="no page"):
        table.page(4)


def test_what_there_is_no_room_for_is_not_said_and_spoils_no_neighbour() -> None:
    table = ServerTable.create(relays=1)
    table.page(1).write(7, bytes([UP]))
    table.page(0).write(7, bytes([DOWN]) * (PAGE * 2))
    said = table.page(0).read(7)
    assert said is not None
    assert len(said.states) == MOST_SERVERS
    assert table.relays(7) == [bytes([UP])]


def test_servers_are_numbered_as_they_stand_in_the_settings() -> None:
    three = tuple(Server("a", port) for port in (1, 2, 3))
    wanted = dataclasses.replace(settings(9), upstreams=(Upstream("a", three), Upstream("b", three[:1])))
    assert numbered(wanted) == {"a": 0, "b": 3}
