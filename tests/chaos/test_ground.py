from __future__ import annotations

from pathlib import Path

import pytest

from keystile.app import load_settings
from keystile.config.faults import ConfigurationError
from keystile.config.live import needs_restart
from tests.chaos.ground import Ground
from tests.chaos.judge import SERVERS
from tests.chaos.servers import NAMES


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path, {name: 9000 + number for number, name in enumerate(NAMES)})


def test_everything_that_reloads_change_is_a_good_file_and_needs_no_restart(ground: Ground) -> None:
    before = load_settings(ground.gateway.file)
    wanted = ground.wanted
    wanted.request_timeout, wanted.max_fields, wanted.extra, wanted.listens, wanted.swapped = 599, 99, 3, True, True
    ground.write()
    after = load_settings(ground.gateway.file)
    assert needs_restart(before, after) == []
    assert len(after.listeners) == len(before.listeners) + 1
    assert "/extra3/*" in ground.gateway.file.read_text()
    assert load_settings(ground.commands_file).store == after.store


def test_a_bad_file_is_one(ground: Ground) -> None:
    ground.write("no_such_setting")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        load_settings(ground.gateway.file)
    ground.write()
    load_settings(ground.gateway.file)


def test_the_judge_knows_the_servers_of_each_upstream(ground: Ground) -> None:
    ports = {9000 + number: name for number, name in enumerate(NAMES)}
    upstreams = load_settings(ground.gateway.file).upstreams
    behind = {each.name: tuple(ports[server.port] for server in each.servers) for each in upstreams}
    assert behind == {name: servers for name, servers in SERVERS.items() if name}
