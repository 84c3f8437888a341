from __future__ import annotations

import dataclasses

import pytest

from keystile.config.model import Needs
from keystile.routing.route import NOT_FOUND, NoRoute, Route


def test_a_route_keeps_a_note_for_the_relay() -> None:
    route = Route(0, "/a", ("GET",), Needs(), "api", None, "gateway.yaml:1")
    route.note = 7
    assert route.note == 7
    assert not hasattr(route, "__dict__")


def test_an_answer_without_a_route_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NOT_FOUND.kind = "ambiguous"  # type: ignore[misc]
    assert NoRoute("not_found", "x") == NoRoute("not_found", "x")
