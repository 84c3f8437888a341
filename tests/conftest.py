"""What all tests share: uvloop, as in the relay; a hypothesis that judges what comes out, never how long it took."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import hypothesis
import pytest
import uvloop

# On a busy machine an example may wait a second for its turn: a deadline would be an assertion about the machine.
hypothesis.settings.register_profile("keystile", deadline=None)
hypothesis.settings.load_profile("keystile")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
