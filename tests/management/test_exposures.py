from __future__ import annotations

import asyncio
import logging

import pytest

from keystile.management import exposures
from keystile.management.exposures import Exposures


class Reports:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.trouble: Exception | None = None

    async def report(self, key_id: str) -> bool:
        if self.trouble is not None:
            raise self.trouble
        self.told.append(key_id)
        return True


async def test_each_key_is_told_of_once_a_look() -> None:
    reports = Reports()
    exposed = Exposures(reports.report)
    for key_id in ("a", "b", "a"):
        exposed.add(key_id)
    await exposed.flush()
    await exposed.flush()
    assert sorted(reports.told) == ["a", "b"]


async def test_what_cannot_be_noted_waits_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    reports.trouble = OSError("disk full")
    exposed = Exposures(reports.report)
    exposed.add("a")
    with caplog.at_level(logging.WARNING):
        await exposed.flush()
        await exposed.flush()
    assert caplog.messages == ["exposed keys cannot be noted, trying again: disk full"]
    reports.trouble = None
    await exposed.flush()
    assert reports.told == ["a"]


async def test_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "EVERY", 0.01)
    reports = Reports()
    exposed = Exposures(reports.report)
    running = asyncio.get_running_loop().create_task(exposed.run())
    exposed.add("a")
    await asyncio.sleep(0.1)
    running.cancel()
    assert reports.told == ["a"]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "MOST_WAITING", 2)
    reports = Reports()
    exposed = Exposures(reports.report)
    for key_id in "abc":
        exposed.add(key_id)
    await exposed.flush()
    assert sorted(reports.told) == ["a", "b"]
