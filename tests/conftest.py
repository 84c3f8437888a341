"""What all tests share: uvloop, as in the relay; a hypothesis that judges what comes out, never how long it took.

The same tests judge the source and its compiled copy (make test-compiled). Some put something of their own in the place
of a part, which is fixed once it is compiled: they say ``@pytest.mark.source_only("why")``, and are left out there.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import hypothesis
import pytest
import uvloop

from keystile import build

# On a busy machine an example may wait a second for its turn: a deadline would be an assertion about the machine.
hypothesis.settings.register_profile("keystile", deadline=None)
hypothesis.settings.load_profile("keystile")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is of the source only, where the compiled copy is under test."""
    if build() == "source":
        return
    for item in items:
        if mark := item.get_closest_marker("source_only"):
            [why] = mark.args
            item.add_marker(pytest.mark.skip(reason=f"of the source only: {why}"))
