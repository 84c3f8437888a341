"""What one supervisor hands on, and how the next one takes it up: between living objects and ``handover.py``'s state.

Law: it gathers and makes anew; when, is ``upgrade.py``'s, and what follows ``supervisor.py``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from keystile import __version__
from keystile.process.acceptance import Acceptance
from keystile.process.child import Child, Hear
from keystile.process.control import Control
from keystile.process.handover import Files, Filled, State, layouts
from keystile.process.place import Place
from keystile.process.shared import Shared

if TYPE_CHECKING:
    from keystile.process.supervisor import Parts


class Succession:
    """What of the present supervisor outlives it."""

    def __init__(self, control: Control, shared: Shared, acceptance: Acceptance, parts: Parts) -> None:
        self.control = control
        self._shared = shared
        self._acceptance = acceptance
        self._parts = parts

    def state(self, places: Sequence[Place], began: float) -> State:
        """All that the next supervisor has to know. Places that were replaced and are empty are nobody's any more."""
        configurations, before = self._acceptance.handed()
        empty = [place for place in places if place.child is None and place.leaves_by is None]
        return State(
            version=__version__,
            layouts=layouts(),
            files=Files(**self.control.handed(), **self._shared.handed(), before=before),
            places=[_filled(place, place.child) for place in places if place.child is not None],
            empty=[(one.role, one.number, one.page, one.failures) for one in empty],
            parts=asdict(self._parts),
            charge=self._shared.management_charge(self._parts.counters).to_json(),
            configurations=configurations,
            began=began,
        )

    def take_up(self, state: State, hear: Hear) -> list[Place]:
        """The places, with the children that are in them."""
        self._acceptance.remember(state.configurations, state.files.before)
        places = []
        for role, number, page, failures in state.empty:
            place = Place(role, number, page)
            place.failures = failures
            places.append(place)
        places += [self._adopted(one, hear) for one in state.places]
        for place in places:
            place.first.set_result(None)  # the gateway has started long ago
        return places

    def _adopted(self, one: Filled, hear: Hear) -> Place:
        place = Place(one.role, one.number, one.page)
        place.child = Child.adopt(one.role, one.pid, one.line, hear, ready=one.ready)
        place.standby, place.failures, place.leaves_by = one.standby, one.failures, one.leaves_by
        # No configuration was considered meanwhile: they all work by the one in force.
        place.started_from = self._shared.in_force.snapshot.number
        return place


def _filled(place: Place, child: Child) -> Filled:
    return Filled(
        role=place.role,
        number=place.number,
        page=place.page,
        pid=child.pid,
        line=child.line,
        ready=place.at_work,
        standby=place.standby,
        failures=place.failures,
        leaves_by=place.leaves_by,
    )
