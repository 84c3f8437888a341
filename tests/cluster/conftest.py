from __future__ import annotations

import pytest

from tests.cluster.world import World


@pytest.fixture
def world():  # type: ignore[no-untyped-def]
    made: list[World] = []

    def make(hosts: int = 2, cap: int = 4, *, per_host: bool = False, min_replicas: int = 0) -> World:
        made.append(World(hosts, cap, per_host=per_host, min_replicas=min_replicas))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()
