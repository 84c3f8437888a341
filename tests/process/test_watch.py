from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from keystile.config.faults import ConfigurationError, Fault
from keystile.config.model import Settings
from keystile.process import snapshot, watch
from keystile.process.snapshot import Snapshot
from keystile.process.watch import Report, Watch
from tests.process.stand_in import settings_for


class Ground:
    """A directory with a gateway.yaml whose whole text is a ``health_path``, and a document; what was offered."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "gateway.yaml"
        self.document = directory / "api.yaml"
        self.offered: list[Snapshot] = []
        self.answer: str | None = None
        self.unusable: Exception | None = None
        self.file.write_text("/one")
        self.document.write_text("operations")
        self.watch = Watch(snapshot.take(1, self.read(self.file)), self.read, self.check, self.offer, since=inf)

    def read(self, file: Path) -> Settings:
        text = file.read_text()
        if text.startswith("bad"):
            raise ConfigurationError([Fault("gateway.yaml", 3, "health_path", None, text)])
        documents = (self.document,) if self.document.exists() else ()
        return settings_for(self.directory, health_path=text, documents=documents)

    def check(self, wanted: Snapshot, in_force: Snapshot) -> None:
        assert in_force is self.watch.accepted
        assert wanted is not in_force
        if self.unusable is not None:
            raise self.unusable

    async def offer(self, wanted: Snapshot) -> str | None:
        self.offered.append(wanted)
        return self.answer


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def facts(report: Report) -> tuple[int, str, bool, int, int]:
    return report.number, report.fault, report.changed, report.taken, report.failed


async def test_what_has_changed_is_offered_under_the_next_number(ground: Ground) -> None:
    ground.file.write_text("/two")
    assert facts(await ground.watch.reload()) == (2, "", True, 1, 0)
    (offered,) = ground.offered
    assert (offered.number, offered.settings.health_path) == (2, "/two")
    assert ground.watch.accepted is offered
    assert ground.watch.changed.is_set()


async def test_counts_go_on_from_those_of_the_process_before(ground: Ground) -> None:
    begun = ground.watch.accepted
    ground.watch = Watch(begun, ground.read, ground.check, ground.offer, taken=3, failed=5, since=inf)
    ground.file.write_text("/two")
    assert facts(await ground.watch.reload()) == (2, "", True, 4, 5)


async def test_what_is_the_same_is_not_offered(ground: Ground) -> None:
    ground.file.write_text("/one")
    assert facts(await ground.watch.reload()) == (1, "", False, 0, 0)
    assert ground.offered == []


async def test_a_file_that_is_named_counts_like_the_settings(ground: Ground) -> None:
    ground.document.write_text("other operations")
    assert (await ground.watch.reload()).changed
    assert ground.offered[0].contents(ground.document) == b"other operations"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ground: ground.file.write_text("bad value"), "bad value"),
        (lambda ground: ground.file.unlink(), "No such file"),
        (lambda ground: setattr(ground, "unusable", OSError("key values mismatch")), "key values mismatch"),
        (lambda ground: setattr(ground, "answer", "the port is in use"), "the port is in use"),
    ],
)
async def test_what_is_wrong_is_told_and_changes_nothing(
    ground: Ground, spoil: Callable[[Ground], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ground.file.write_text("/two")
    spoil(ground)
    before = ground.watch.accepted
    report = await ground.watch.reload()
    assert said in report.fault
    assert (report.number, report.changed, report.failed) == (1, False, 1)
    assert ground.watch.accepted is before
    assert not ground.watch.changed.is_set()
    assert said in capsys.readouterr().err
    await ground.watch.reload()
    assert capsys.readouterr().err == ""  # told once


async def test_what_cannot_change_is_not_even_offered(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground.watch, "_read", lambda _: settings_for(ground.directory, workers=9))
    assert (await ground.watch.reload()).fault == "workers cannot change while the gateway runs; restart it"
    assert ground.offered == []


async def test_a_number_is_never_given_twice(ground: Ground) -> None:
    ground.watch.last = 7  # so the supervisor says
    ground.file.write_text("/two")
    assert (await ground.watch.reload()).number == 8
    first = replace(ground.watch.accepted, number=1)
    ground.watch.changed.clear()
    ground.watch.put_back(first, "relays die by it")
    assert facts(ground.watch.report) == (1, "relays die by it", True, 1, 1)
    assert ground.watch.changed.is_set()
    ground.file.write_text("/three")
    assert (await ground.watch.reload()).number == 9


async def test_what_would_change_is_told_and_nothing_changes(ground: Ground) -> None:
    ground.file.write_text("/two")
    found = await ground.watch.compare(ground.file)
    assert (found["fault"], found["number"], found["differs"]) == (None, 1, True)
    assert found["settings"] == [{"path": "health_path", "was": "/one", "now": "/two", "restart": False}]
    assert ground.offered == []
    assert ground.watch.report.number == 1
    ground.file.write_text("/one")
    assert not (await ground.watch.compare(ground.file))["differs"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ground: ground.file.write_text("bad value"), "bad value"),
        (lambda ground: ground.file.unlink(), "No such file"),
        (lambda ground: setattr(ground, "unusable", OSError("key values mismatch")), "key values mismatch"),
        (lambda ground: setattr(ground, "unusable", RuntimeError("boom")), "internal error (RuntimeError)"),
    ],
)
async def test_what_is_wrong_keeps_it_from_being_compared(
    ground: Ground, spoil: Callable[[Ground], object], said: str
) -> None:
    ground.file.write_text("/two")
    spoil(ground)
    assert said in (await ground.watch.compare(ground.file))["fault"]
    assert ground.watch.report.failed == 0


async def test_a_fault_of_ours_is_told_and_the_watch_goes_on(
    ground: Ground, looking: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    ground.unusable = RuntimeError("boom")
    await looking()
    ground.file.write_text("/two")
    await seen(lambda: ground.watch.report.fault == "internal error (RuntimeError)")
    assert "boom" in caplog.text
    ground.unusable = None
    await seen(lambda: ground.offered)


async def seen(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
async def looking(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Begin to look again and again, quickly."""
    monkeypatch.setattr(watch, "EVERY", 0.02)
    monkeypatch.setattr(watch, "AGAIN_AFTER", 0.1)

    async def begin() -> None:
        task = asyncio.get_running_loop().create_task(ground.watch.run())
        asyncio.get_running_loop().call_later(30, task.cancel)

    return begin


async def test_a_change_is_seen_by_itself(ground: Ground, looking: Callable[[], Awaitable[None]]) -> None:
    await looking()
    ground.file.write_text("/two")
    await seen(lambda: ground.offered)
    ground.document.write_text("other operations")
    await seen(lambda: len(ground.offered) == 2)
    assert ground.watch.report.number == 3


async def test_a_file_that_is_still_being_written_is_left_alone(
    ground: Ground, looking: Callable[[], Awaitable[None]]
) -> None:
    await looking()
    for part in range(30):
        ground.file.write_text(f"bad{'x' * part}")  # half of it, again and again
        await asyncio.sleep(0.01)
    assert ground.watch.report.failed <= 3  # a stall of this machine may look like the end of writing
    ground.file.write_text("/two")
    await seen(lambda: ground.offered)
    assert ground.offered[0].settings.health_path == "/two"


async def test_a_file_that_comes_to_be_cures_what_was_wrong(
    ground: Ground, looking: Callable[[], Awaitable[None]]
) -> None:
    ground.unusable = OSError("no such certificate")
    await looking()
    ground.file.write_text("/two")
    await seen(lambda: ground.watch.report.fault)
    ground.unusable = None  # nothing that is watched has changed
    await seen(lambda: ground.offered)


async def test_a_wall_clock_that_is_set_back_does_not_put_off_the_next_reading(
    ground: Ground, looking: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.unusable = OSError("no such certificate")
    await looking()
    ground.file.write_text("/two")
    await seen(lambda: ground.watch.report.fault)
    monkeypatch.setattr("time.time", lambda: 1.0)
    ground.unusable = None
    await seen(lambda: ground.offered)


async def test_a_link_that_leads_elsewhere_now_is_a_change(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Kubernetes changes what it mounts: gateway.yaml is a link through ``..data``, a link that is put anew."""
    monkeypatch.setattr(watch, "EVERY", 0.01)
    for name, text in (("..one", "/one"), ("..two", "/two")):
        (ground.directory / name).mkdir()
        (ground.directory / name / "gateway.yaml").write_text(text)
    data, following = ground.directory / "..data", ground.directory / "..data_tmp"
    data.symlink_to("..one")
    ground.file.unlink()
    ground.file.symlink_to("..data/gateway.yaml")
    taken = snapshot.take(1, ground.read(ground.file))
    ground.watch = Watch(taken, ground.read, ground.check, ground.offer, since=inf)
    running = asyncio.ensure_future(ground.watch.run())
    try:
        following.symlink_to("..two")
        following.rename(data)
        await seen(lambda: ground.offered)
    finally:
        running.cancel()
    assert [offered.settings.health_path for offered in ground.offered] == ["/two"]


async def test_what_changed_while_nobody_watched_is_taken_up(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Management was killed, gateway.yaml edited, and its successor begins with what is in force, not what is there."""
    monkeypatch.setattr(watch, "EVERY", 0.01)
    in_force = ground.watch.accepted
    ground.file.write_text("/two")
    ground.watch = Watch(in_force, ground.read, ground.check, ground.offer, since=None)
    running = asyncio.ensure_future(ground.watch.run())
    try:
        async with asyncio.timeout(10):
            await ground.watch.changed.wait()
    finally:
        running.cancel()
    assert [offered.settings.health_path for offered in ground.offered] == ["/two"]


@pytest.mark.parametrize("since", [None, inf])
async def test_what_is_as_it_was_when_a_watch_begins_is_offered_to_nobody(
    ground: Ground, since: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.01)
    ground.watch = Watch(ground.watch.accepted, ground.read, ground.check, ground.offer, since=since)
    running = asyncio.ensure_future(ground.watch.run())
    await asyncio.sleep(0.2)
    running.cancel()
    assert ground.offered == []
    assert facts(ground.watch.report) == (1, "", False, 0, 0)


async def test_what_is_written_while_it_is_read_is_another_change(
    ground: Ground, looking: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: the successor reads at once, and somebody writes the file in that moment."""

    def read(file: Path) -> Settings:
        settings = ground.read(file)
        if not ground.offered:
            file.write_text("/three")
        return settings

    monkeypatch.setattr(ground.watch, "_read", read)
    ground.file.write_text("/two")
    assert (await ground.watch.reload()).changed
    await looking()
    await seen(lambda: len(ground.offered) == 2)
    assert [offered.settings.health_path for offered in ground.offered] == ["/two", "/three"]


async def test_a_file_named_anew_that_is_written_while_it_is_read_is_another_change(
    ground: Ground, looking: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, reads = ground.directory / "new.yaml", []

    def read(file: Path) -> Settings:
        reads.append(new.read_text())
        settings = settings_for(ground.directory, health_path=file.read_text(), documents=(new,))
        new.write_text("as it stays")
        return settings

    monkeypatch.setattr(ground.watch, "_read", read)
    new.write_text("as it was")
    ground.file.write_text("/two")
    await ground.watch.reload()
    await looking()
    await seen(lambda: ground.offered[-1].contents(new) == b"as it stays")
    assert "as it stays" in reads  # not only in what was taken along: what settings say of it as well


@pytest.mark.parametrize("how", ["written", "moved there"])
async def test_what_changed_before_anybody_watched_is_read_once(
    ground: Ground, how: str, looking: Callable[[], Awaitable[None]]
) -> None:
    """The supervisor reads gateway.yaml at its start; management watches it some moments later."""
    other = ground.directory / "other.yaml"
    other.write_text("/two")
    os.utime(other, (1, 1))
    old = max(path.stat().st_ctime for path in (ground.file, ground.document))
    taken = ground.watch.accepted
    while time.time() - old < 0.05:  # the clock of files goes by ticks  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    since = time.time() - 0.02
    if how == "written":
        ground.file.write_text("/two")
    else:
        other.rename(ground.file)
    ground.watch = Watch(taken, ground.read, ground.check, ground.offer, since=since)
    await looking()
    await seen(lambda: ground.offered)


def test_a_process_began_before_now_and_after_this_file_was_made(tmp_path: Path) -> None:
    assert watch.began_at(os.getpid()) < time.time()
    before = time.time() - 2 / os.sysconf("SC_CLK_TCK")
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        assert before <= watch.began_at(child) <= time.time()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    with pytest.raises(OSError, match="No such"):
        watch.began_at(child)
