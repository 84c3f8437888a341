from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystile.config.live import needs_restart
from keystile.config.model import AccessLog, Listener, Management, ManagementRoutes, Metrics
from tests.process.stand_in import settings_for

RUNNING = settings_for(Path("/nowhere"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"store": Path("/else/where.db")}, ["store"]),
        ({"workers": 7}, ["workers"]),
        ({"management": Management(port=1)}, ["management.address"]),
        ({"store": Path("/else/where.db"), "workers": 3}, ["store", "workers"]),
        ({"management_routes": ManagementRoutes("/v4/security")}, []),
        ({"access_log": AccessLog(enabled=False)}, []),
        ({"metrics": Metrics(keys=True)}, []),
        ({"listeners": (Listener("127.0.0.1", 1),)}, []),
        ({"management": Management(port=0, hosts=("gateway.example",))}, []),
        ({"health_path": "/healthz"}, []),
    ],
)
def test_what_processes_are_laid_out_by_is_named(change: dict[str, object], named: list[str]) -> None:
    assert needs_restart(RUNNING, replace(RUNNING, **change)) == named  # type: ignore[arg-type]


def test_nothing_is_named_where_nothing_differs() -> None:
    assert needs_restart(RUNNING, replace(RUNNING)) == []
