from pathlib import Path

from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway
from tests.soak.management import Kills, Soak, soak


async def test_nobody_who_calls_notices_that_management_is_killed(tmp_path: Path) -> None:
    found = await soak(2.0, 2, tmp_path, pause=0.2)
    assert not found.faults()
    assert found.kills >= 1
    assert found.while_down > 10
    assert found.connections > 16
    assert found.changes.statuses["POST 201"] > 10
    assert found.samples == found.kills


async def test_a_request_that_fails_would_be_noticed(tmp_path: Path) -> None:
    watching = Soak(RealGateway(tmp_path, 9, 2), b"")
    lost = Client()
    lost.ended = True
    assert await watching.ask(lost) == ENDED
    assert any("1 requests failed" in fault for fault in watching.found.faults())


def test_a_management_that_stays_away_and_a_load_that_never_met_it_would_be_noticed() -> None:
    assert len(Kills(2, sent=2, not_back=1).faults()) == 5


def test_a_counter_that_goes_back_would_be_noticed(tmp_path: Path) -> None:
    watching = Soak(RealGateway(tmp_path, 9, 2), b"")
    for now in ({"a_total": 5.0, "b_total": 1.0}, {"a_total": 5.0, "b_total": 2.0}, {"a_total": 4.0}):
        watching.look_at_counters(now)
    assert watching.found.went_back == ["a_total went from 5 to 4.0", "b_total went from 2 to None"]
