from __future__ import annotations

import socket
from pathlib import Path

from keystile.config.model import Listener
from keystile.process.shared import Shared
from tests.process.stand_in import settings_for


def test_every_relay_has_a_socket_of_its_own_per_listener_and_knows_the_others(tmp_path: Path) -> None:
    listeners = (Listener("127.0.0.1", 0), Listener("127.0.0.1", 0))
    shared = Shared(settings_for(tmp_path, workers=3, listeners=listeners))
    charges = [shared.relay_charge(place, "x:y") for place in (1, 2, 3)]
    own = [charge.listeners for charge in charges]
    assert len({fd for fds in own for fd in fds}) == 6
    # Of the first listener first: the relay process counts on that order.
    assert charges[0].neighbours == (own[1][0], own[2][0], own[1][1], own[2][1])
    assert shared.management_charge("x").neighbours == ()
    shared.stop_listening()
    assert shared.status()["listeners"] == []
    shared.close()


def test_listeners_are_announced_with_their_real_ports(tmp_path: Path) -> None:
    shared = Shared(settings_for(tmp_path, workers=1))
    first, second = shared.announcement()
    assert first.startswith("listening on http://127.0.0.1:")
    assert second.startswith("management on http://127.0.0.1:")
    assert not first.endswith(":0")
    shared.close()


def test_there_are_columns_for_twice_as_many_relays(tmp_path: Path) -> None:
    shared = Shared(settings_for(tmp_path, workers=20))
    assert shared.slots.columns >= 40
    shared.close()


def test_the_socket_of_the_services_own_calls_is_there_before_they_are_switched_on(tmp_path: Path) -> None:
    place = tmp_path / "keystile.db.management"
    shared = Shared(settings_for(tmp_path, workers=1))
    assert len(shared.management_charge("x").listeners) == 2
    assert shared.relay_charge(1, "x:y").listeners != shared.management_charge("x").listeners[1:]
    # Nobody is there yet, and whoever connects waits.
    with socket.socket(socket.AF_UNIX) as relay:
        relay.connect(str(place))
    shared.close()
    assert not place.exists()
