import random
from pathlib import Path

from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway
from tests.soak.kills import Kills, Soak, soak
from tests.soak.upstream import Upstream


async def test_a_killed_relay_takes_only_its_own_requests_with_it(tmp_path: Path) -> None:
    found = await soak(2, 5, 3, tmp_path, minutes=0.5, pause=0.1)
    assert not found.faults()
    assert found.kills == 5
    assert found.inside.total() > 0
    assert found.slots_lost > 0
    assert len(found.whole_after) == 5


async def test_a_request_that_fails_elsewhere_would_be_noticed(tmp_path: Path) -> None:
    watching = Soak(RealGateway(tmp_path, 9, 2), Upstream(), b"", random.Random(1))
    lost = Client()
    lost.ended = True
    assert await watching.ask(lost, "/soak/now") == ENDED
    assert watching.found.remainder == 0
    assert len(watching.found.lost) == 1
    assert any("0.0" in fault for fault in watching.found.faults())


def test_a_request_without_an_end_would_be_noticed() -> None:
    assert "1 requests are not accounted for" in Kills(2, sent=1, slots_left=0).faults()
