from __future__ import annotations

from pathlib import Path

from tests.soak.certificates import Changes, soak


async def test_nobody_who_calls_notices_that_certificates_change(tmp_path: Path) -> None:
    found = await soak(5, 2, tmp_path)
    assert not found.faults()
    assert found.statuses[200] > 50


def test_what_would_be_wrong_is_noticed() -> None:
    assert len(Changes(2, asked=5, taken=4, sent=2, cut=1).faults()) == 4
