from __future__ import annotations

from pathlib import Path

from tests.soak.gateway import RealGateway
from tests.soak.reloads import Reloads, Soak, soak


async def test_nobody_who_calls_notices_that_configurations_change(tmp_path: Path) -> None:
    found = await soak(4, 2, tmp_path)
    assert found.faults() == []
    assert found.bad == 1
    assert found.answered["kept"] > 20


def test_what_would_be_wrong_is_noticed(tmp_path: Path) -> None:
    assert len(Reloads(2, asked=5, taken=4, sent=2, unlogged=1, restarts=1).faults()) == 7
    work = Soak(RealGateway(tmp_path, 9, 2), b"", str, 0)
    allowed, refused = (b"HTTP/1.1 %b\r\nAccess-Control-Allow-Origin: x\r\n\r\n", b"HTTP/1.1 %b\r\n\r\n")
    assert work.judge("/soak", "odd", allowed % b"200 OK", b"odd") == "odd"
    assert work.judge("/soak", "odd", refused % b"200 OK", b"even") == "even"
    assert work.judge("/only/odd", "odd", refused % b"404 No", b"") == "even"
    assert work.judge("/only/even", "odd", allowed % b"404 No", b"") == "odd"
    assert work.found.mixed == work.found.wrong == []
    work.judge("/soak", "odd", refused % b"200 OK", b"odd")
    work.judge("/soak", "odd", allowed % b"200 OK", b"even")
    work.judge("/only/odd", "odd", allowed % b"404 No", b"")
    work.judge("/only/odd", "even", allowed % b"200 OK", b"even")
    assert len(work.found.mixed) == 4
    work.judge("/kept", "odd", allowed % b"200 OK", b"kept")
    work.judge("/soak", "odd", refused % b"502 No", b"")
    assert len(work.found.wrong) == 2
