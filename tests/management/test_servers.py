from __future__ import annotations

import dataclasses

from keystile.config.model import HealthCheck, Server, Upstream
from keystile.limits.servers import DOWN, TRIED, UNKNOWN, UP
from keystile.management.metrics import exposition
from keystile.management.servers import SeenServer, samples, seen, trouble
from tests.relay.running import settings

TWO = (Server("a", 80), Server("::1", 81))
WANTED = dataclasses.replace(
    settings(9), upstreams=(Upstream("api", TWO, health_check=HealthCheck("/h")), Upstream("other", TWO))
)


def test_each_server_is_told_with_what_checks_and_relays_say_of_it() -> None:
    relays = [bytes([UP, DOWN, UP, TRIED]), bytes([UP, DOWN, UP, UP])]
    assert seen(WANTED, bytes([UP, DOWN, DOWN, DOWN]), relays) == (
        SeenServer("api", "a:80", "up", 0, 2),
        SeenServer("api", "[::1]:81", "down", 2, 2),
        SeenServer("other", "a:80", "", 0, 2),  # nobody asks it
        SeenServer("other", "[::1]:81", "", 1, 2),
    )


def test_where_nothing_is_said_nothing_is_known_and_every_server_is_used() -> None:
    for checks, relays in ((b"", []), (bytes([UNKNOWN] * 4), [b"", bytes([UNKNOWN])])):
        found = seen(WANTED, checks, relays)
        assert [(one.checked, one.used, one.trouble) for one in found] == [("", True, "")] * 4


def test_a_server_is_used_as_long_as_one_relay_uses_it_and_no_check_finds_it_down() -> None:
    assert SeenServer("api", "a:80", "", 1, 2).used
    assert not SeenServer("api", "a:80", "", 2, 2).used
    assert not SeenServer("api", "a:80", "down", 0, 2).used
    assert SeenServer("api", "a:80", "down", 1, 2).trouble == (
        "the health checks find it down, left out by 1 of 2 relays"
    )


def test_health_names_upstreams_that_lack_servers_and_no_address() -> None:
    up, down = SeenServer("api", "10.0.0.1:80", "up", 0, 1), SeenServer("api", "10.0.0.2:80", "down", 0, 1)
    gone = SeenServer("other", "10.0.0.3:80", "", 1, 1)
    assert trouble([up]) is None
    assert trouble([up, down, gone]) == "api lacks 1 of 2, other has none that is used"
    assert "10.0.0" not in str(trouble([up, down, gone]))


def test_metrics_tell_of_each_server_with_labels_that_are_escaped() -> None:
    text = exposition(samples([SeenServer("api", 'unix:/a"b\\c', "down", 1, 2), SeenServer("api", "a:80", "up", 0, 2)]))
    assert 'keystile_upstream_server_up{upstream="api",server="unix:/a\\"b\\\\c"} 0\n' in text
    assert 'keystile_upstream_server_up{upstream="api",server="a:80"} 1\n' in text
    assert 'keystile_upstream_breaker_open{upstream="api",server="unix:/a\\"b\\\\c"} 1\n' in text
