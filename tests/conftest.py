"""What all tests share: uvloop, as in the relay; a hypothesis that judges what comes out, never how long it took.

The same tests judge the source and its compiled copy (make test-compiled). Some put something of their own in the place
of a part, which is fixed once it is compiled: they say ``@pytest.mark.source_only("why")``, and are left out there.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import pytest
import uvloop

from keystile import build

# On a busy machine an example may wait a second for its turn: a deadline would be an assertion about the machine.
hypothesis.settings.register_profile("keystile", deadline=None)
hypothesis.settings.load_profile("keystile")


#: The files that take longest, in this order; whoever begins one of them last has the others wait for it.
LONGEST = (
    *("browser/test_keys", "e2e/test_official_key_calls", "wire/test_attacks", "management/api/test_fuzzing"),
    *("e2e/test_reload", "soak/test_slow", "e2e/test_keys_while_running", "e2e/test_shared_store"),
    *("storage/test_store", "e2e/test_replay_over_kills", "e2e/test_store_away", "soak/test_bursts"),
    *("relay/test_slow_peers", "e2e/test_official_client", "process/test_supervisor", "process/test_management"),
    *("cluster/test_revocation", "routing/test_path_readings", "process/test_upgrade", "relay/test_asking"),
    *("wire/test_planted", "e2e/test_secrets", "cluster/test_account", "cli/test_demo", "storage/test_measure_load"),
    *("loadtest/test_tester", "e2e/test_management_kept", "chaos/test_run", "management/api/test_problems"),
    *("relay/test_shed", "fuzz/test_fuzz", "soak/test_idle_tls", "e2e/test_metrics", "e2e/test_websockets"),
    *("e2e/test_drain", "e2e/test_large_bodies", "wire/test_tls_gate", "relay/test_tunnel", "keys/test_authority"),
    *("keys/test_smtp", "relay/test_end", "relay/test_entrance", "cli/test_main", "deploy/test_systemd"),
    *("e2e/test_upstreams", "soak/test_overload", "routing/test_attacks", "process/test_acceptance"),
    *("soak/test_upgrades", "soak/test_idle", "process/test_serving", "soak/test_kills", "wire/test_caller_attacks"),
    *("browser/test_loadtest_report", "soak/test_deletes", "soak/test_upstreams", "soak/test_cpu"),
)
TESTS = Path(__file__).parent


def _rank(file: Path) -> int:
    name = file.relative_to(TESTS).with_suffix("").as_posix() if file.is_relative_to(TESTS) else ""
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first, where several are tested at a time; and nothing of the source only, if compiled."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path))  # a sort that leaves equals as they are
    if build() == "source":
        return
    for item in items:
        if mark := item.get_closest_marker("source_only"):
            [why] = mark.args
            item.add_marker(pytest.mark.skip(reason=f"of the source only: {why}"))
