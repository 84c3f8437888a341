from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keystile.process import snapshot
from keystile.process.acceptance import Acceptance
from keystile.process.control import Control
from keystile.process.place import MANAGEMENT, RELAY, Place
from keystile.process.shared import Shared
from keystile.process.succession import Succession
from tests.process.stand_in import SMALL, settings_for
from tests.process.test_handover import a_state
from tests.process.test_place import a_child


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    made = Shared(settings_for(tmp_path, workers=1))
    yield made
    made.close()


def succession(shared: Shared) -> tuple[Succession, Acceptance]:
    acceptance = Acceptance(shared, lambda: (), lambda: None)
    control: Any = SimpleNamespace(handed=lambda: {"lock": -1, "control": -1})
    return Succession(cast(Control, control), shared, acceptance, SMALL), acceptance


async def test_all_that_is_known_of_the_places_is_handed_on(shared: Shared) -> None:
    working, leaving, empty, over = [Place(RELAY, 1, page) for page in (1, 2, 3, 4)]
    for place, pid in ((working, 4711), (leaving, 4712)):
        child: Any = a_child(pid)
        child.line = pid + 1000
        place.child = child
    working.at_work = True
    empty.failures = 3
    leaving.leaves_by = over.leaves_by = 12.0
    state = succession(shared)[0].state([working, leaving, empty, over], 1.5)
    assert [(one.pid, one.line, one.ready, one.leaves_by) for one in state.places] == [
        (4711, 5711, True, None), (4712, 5712, False, 12.0)
    ]  # fmt: skip
    assert state.empty == [(RELAY, 1, 3, 3)]
    assert (state.began, state.parts["relay"]) == (1.5, SMALL.relay)


async def test_places_are_taken_up_with_their_failures_and_the_gateway_has_started(shared: Shared) -> None:
    state = a_state(places=[], empty=[(MANAGEMENT, 0, 0, 2)], configurations=succession(shared)[1].handed()[0])
    [place] = succession(shared)[0].take_up(state, lambda *_: None)
    assert (place.role, place.failures, place.first.done(), place.child) == (MANAGEMENT, 2, True, None)


async def test_which_configuration_would_be_put_back_is_known_afterwards(shared: Shared) -> None:
    before, after = succession(shared)[1], succession(shared)[1]
    before.last, before.put_back = 7, 2
    before._before = shared.in_force.snapshot
    told, fd = before.handed()
    after.remember(told, fd)
    assert (after.last, after.put_back, after._since) == (7, 2, before._since)
    assert after._before == snapshot.read(shared.in_force.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
