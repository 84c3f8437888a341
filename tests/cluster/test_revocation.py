from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from tests.cluster.revocation import Traffic, lose_the_database, measure_deletes
from tests.cluster.two_hosts import Hosts, two_hosts, until
from tests.storage.postgres_server import needs_postgresql


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    needs_postgresql()
    with two_hosts(tmp_path_factory.mktemp("hosts"), workers=1, trust_without_store="4s") as hosts:
        yield hosts


def pid_of(hosts: Hosts, at: int, role: str) -> int:
    found = hosts.gateways[at].ask("status")["processes"]
    return int(next(each["pid"] for each in found if each["role"] == role))


def test_a_key_that_is_deleted_on_one_host_is_refused_on_the_other(hosts: Hosts) -> None:
    """How fast it is, is measured by hand (the module's main); here it must only be, and by a notification."""
    by_polling = hosts.metric(1, "store_changes_by_polling_total")
    assert len(asyncio.run(measure_deletes(hosts, 3))) == 3
    assert hosts.metric(1, "store_change_delay_seconds_count") >= 6
    assert hosts.metric(1, "store_changes_by_polling_total") == by_polling


def test_a_database_that_is_killed_takes_no_traffic_with_it(hosts: Hosts) -> None:
    seen = lose_the_database(hosts, 0.0)
    assert [set(statuses) for statuses in seen["answers"]] == [{200}, {200}]
    assert any("store: cannot be read: the database cannot be reached" in each for each in seen["health"]["warnings"])
    until(lambda: hosts.health(1)["status"] == "ok")


def test_a_host_that_hears_nothing_stops_to_trust_and_begins_again(hosts: Hosts) -> None:
    """Relay and management may be killed meanwhile: both come back, and the time goes on."""
    secret = hosts.gateways[0].create_key("trusted", "View")
    until(lambda: hosts.status(1, secret) == 200)
    traffic = Traffic(hosts, secret)
    hosts.database.stop(signal.SIGQUIT)
    try:
        for at in (0, 1):
            os.kill(pid_of(hosts, at, "management"), signal.SIGKILL)
        until(lambda: hosts.status(1, secret) == 503)
        until(lambda: hosts.health(1)["status"] == "failing")
        assert hosts.metric(1, "keys_unavailable") == 1
        os.kill(pid_of(hosts, 1, "relay"), signal.SIGKILL)
        until(lambda: hosts.status(1, secret) == 503)
        assert hosts.status(0, secret) == 200  # it trusts for five minutes
        assert hosts.health(0)["status"] == "degraded"
    finally:
        hosts.database.start()
        traffic.end()
    assert set(traffic.statuses[0]) == {200}
    assert set(traffic.statuses[1]) <= {200, 503, 0}
    until(lambda: hosts.status(1, secret) == 200)
    hosts.gateways[1].keys("delete", "trusted")
    until(lambda: hosts.status(0, secret) == 401)


def test_a_gateway_starts_while_the_database_is_away(hosts: Hosts) -> None:
    """With the keys that it knew, as long as it trusts them."""
    secret = hosts.gateways[0].create_key("known", "View")
    until(lambda: hosts.status(0, secret) == 200)
    gateway = hosts.gateways[0]
    assert gateway.stop() == 0
    hosts.database.stop(signal.SIGQUIT)
    try:
        gateway.out.write_text("")
        gateway.start()
        gateway.wait_until_ready()
        assert hosts.status(0, secret) == 200
        assert hosts.health(0)["status"] == "degraded"
    finally:
        hosts.database.start()
    until(lambda: hosts.health(0)["status"] == "ok")
