"""A running gateway becomes another version of itself: with real processes, and every step made to fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keystile import __version__
from keystile.process import handover, upgrade
from keystile.process.control import ask_to_reload, ask_to_upgrade
from keystile.process.handover import SIGNALS, State
from keystile.process.place import Place
from keystile.process.upgrade import Upgrade
from tests.process.running import PROGRAM, Running, is_alive, until
from tests.process.stand_in import offer
from tests.process.test_handover import a_state
from tests.process.test_management import _get, _metrics

Start = Callable[..., Running]
OLD, NEW = __version__, "99.0.0"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The program as it is installed for a gateway: a copy that may become another version."""
    copy = tmp_path / "installed"
    shutil.copytree(PROGRAM / "keystile", copy / "keystile", ignore=shutil.ignore_patterns("__pycache__"))
    for library in PROGRAM.glob("*__mypyc.*.so"):  # what all compiled modules of a copy are in
        shutil.copy2(library, copy)
    return copy


def edit(source: Path, file: str, before: str, after: str) -> None:
    path = source / "keystile" / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


class Calls:
    """New connections again and again, from threads; every one ends in exactly one count."""

    def __init__(self, running: Running) -> None:
        self.said: Counter[str] = Counter()
        self._running = running
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(3)]

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self.said["pid" if self._running.say("pid").isdigit() else "odd"] += 1
            except OSError as error:
                self.said[repr(error)] += 1

    def __enter__(self) -> Calls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def asking(running: Running) -> Iterator[list[dict[str, Any]]]:
    """An upgrade that is under way in the block; its answer is there after it."""
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(ask_to_upgrade(running.store)))
    thread.start()
    yield answers
    thread.join(60)


def test_nobody_who_calls_notices_and_nothing_that_is_shared_is_lost(
    gateway: Start, tmp_path: Path, source: Path
) -> None:
    (tmp_path / "patient").touch()
    running = gateway(source=source).wait_until_ready()
    assert offer(tmp_path, 2, health_path="/second")["fault"] is None
    before = running.status()
    holding, slow = running.connect(), running.connect()
    assert [int(running.say("take", holding)) >= 0 for _ in range(20)] == [True] * 20
    edit(source, "__init__.py", OLD, NEW)
    with Calls(running) as calls:
        slow.sendall(b"slow 1\n")
        answer = ask_to_upgrade(running.store)
        status = running.status()
        assert running.say("take") == "-1", "the cap holds over all of them"
        assert slow.recv(100).strip().isdigit()
    assert (answer["fault"], answer["from"], answer["to"]) == (None, OLD, NEW)
    assert set(calls.said) == {"pid"}
    # The same supervisor, which knows what it knew; all others are new, and it has them.
    assert status["processes"][0] == before["processes"][0]
    assert (before["version"], status["version"], status["configuration"]) == (OLD, NEW, 2)
    assert status["slots_taken"] == 20
    told = {one["pid"] for one in answer["new"]}
    assert {one["pid"] for one in status["processes"] if not one.get("draining")} - told == {running.process.pid}
    assert not told & {one["pid"] for one in before["processes"]}
    assert len([one for one in status["processes"] if one.get("draining")]) >= 1
    holding.close()
    until(lambda: running.status()["slots_taken"] == 0 and len(running.pids("relay")) == 2)
    assert running.say("path") == "/second"
    assert offer(tmp_path, 3, health_path="/third")["fault"] is None
    os.kill(running.pids("relay")[0], signal.SIGKILL)
    until(lambda: running.status()["restarts"] == 1 and len(running.pids("relay")) == 2)
    text = running.errors.read_text()
    assert f"upgraded from {OLD} to {NEW}" in text
    assert f"s after the upgrade to {NEW}" in text
    pids = [one["pid"] for one in running.status()["processes"]]
    assert running.terminate() == 0
    assert not any(is_alive(pid) for pid in pids)
    slow.close()


@pytest.mark.source_only("it edits the text of a module that is not read where it is compiled")
def test_code_that_cannot_take_up_the_state_changes_nothing(gateway: Start, source: Path) -> None:
    running = gateway(source=source, workers=1).wait_until_ready()
    before = running.status()["processes"]
    edit(source, "limits/slots.py", "KSTSLOT1", "KSTSLOT9")
    with Calls(running) as calls:
        answer = ask_to_upgrade(running.store)
        assert answer["fault"].endswith("cannot take up the state: it lays out otherwise: slot table")
        edit(source, "limits/slots.py", "KSTSLOT9", "KSTSLOT1 broken")
        edit(source, "limits/slots.py", "import fcntl\n", "import fcntl, nowhere\n")
        assert "No module named 'nowhere'" in ask_to_upgrade(running.store)["fault"]
    assert set(calls.said) == {"pid"}
    assert running.status()["processes"] == before
    assert "no upgrade, the gateway goes on as it was" in running.errors.read_text()


def test_new_relays_that_do_not_start_change_nothing_and_a_later_upgrade_succeeds(
    gateway: Start, tmp_path: Path
) -> None:
    running = gateway().wait_until_ready()
    before = running.status()["processes"]
    (tmp_path / "boom").touch()
    with Calls(running) as calls:
        assert ask_to_upgrade(running.store)["fault"] == "the new code does not start: OSError: boom, as asked for"
        until(lambda: running.status()["processes"] == before)
        (tmp_path / "boom").unlink()
        running.process.send_signal(signal.SIGUSR2)
        until(lambda: not {one["pid"] for one in before[1:]} & set(running.pids("relay")), within=40)
    assert set(calls.said) == {"pid"}
    assert running.status()["restarts"] == 0


def test_whoever_is_killed_while_it_is_under_way_is_no_loss(gateway: Start, tmp_path: Path) -> None:
    running = gateway().wait_until_ready()
    old = running.pids("relay")
    hesitate = tmp_path / "hesitate"
    hesitate.touch()
    with Calls(running) as calls:
        with asking(running) as answers:
            until(lambda: len(running.pids("relay")) == 4, within=40)
            assert ask_to_upgrade(running.store)["fault"] == "another upgrade is under way"
            assert "an upgrade is under way" in ask_to_reload(running.store)["fault"]
            os.kill(running.pids("relay")[-1], signal.SIGKILL)
        assert "was ended by SIGKILL" in answers[0]["fault"]
        until(lambda: running.pids("relay") == old)
        with asking(running) as answers:
            until(lambda: len(running.pids("relay")) == 4, within=40)
            os.kill(old[0], signal.SIGKILL)
            until(lambda: old[0] not in running.pids("relay"))
            hesitate.unlink()
        assert answers[0]["fault"] is None
        until(lambda: set(running.pids("relay")) <= {one["pid"] for one in answers[0]["new"]})
    # Two were killed, and each of three callers may have been inside one that was.
    assert calls.said.total() - calls.said["pid"] <= 6, calls.said


def test_a_sigterm_while_it_is_under_way_ends_both(gateway: Start, tmp_path: Path) -> None:
    running = gateway().wait_until_ready()
    (tmp_path / "hesitate").touch()
    with asking(running) as answers:
        until(lambda: len(running.pids("relay")) == 4, within=40)
        pids = [one["pid"] for one in running.status()["processes"]]
        running.process.send_signal(signal.SIGTERM)
        (tmp_path / "hesitate").unlink()
        assert running.process.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert answers == [] or answers[0]["fault"] == "the gateway is stopping"


def test_management_answers_throughout_and_what_relays_tell_it_is_told_once(gateway: Start, tmp_path: Path) -> None:
    running = gateway(parts="full", workers=1).wait_until_ready()
    (tmp_path / "gateway.yaml").write_text("changed, and not right\n")
    said: Counter[int] = Counter()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            said[_get(running, "/health")[0]] += 1

    thread = threading.Thread(target=look)
    thread.start()
    running.say("log before")
    requests = _metrics(running)["keystile_requests_total"]
    assert ask_to_upgrade(running.store)["fault"] is None
    running.say("log after")
    until(lambda: _metrics(running)["keystile_requests_total"] > requests)
    over.set()
    thread.join()
    assert set(said) == {200}
    # The next management reads what may have changed while nobody looked.
    until(lambda: "the configuration was not taken, 1 stays in force" in running.errors.read_text())
    assert running.terminate() == 0
    assert running.out.read().split() == [b"before", b"after"]


# -- without processes ---------------------------------------------------------------------------------------


class Crew:
    """A supervisor without children. ``did``: in order."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.stopping = False
        self.looks = 0
        self.did: list[str] = []

    @property
    def settled(self) -> bool:
        self.looks += 1
        return self.looks > 2

    def fill(self, place: Place) -> None:
        self.places.append(place)

    def see_off(self, place: Place) -> None: ...

    async def unless_stopped(self, started: Awaitable[Any]) -> None: ...

    async def pause(self) -> None:
        self.did.append("pause")

    async def go_on(self) -> None:
        self.did.append("go on")

    def state(self) -> State:
        return a_state()

    def take_over(self) -> None:
        assert not SIGNALS & signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.did.append("take over")


async def test_where_the_exec_fails_the_old_supervisor_goes_on_with_the_new_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(state: State, module: str) -> None:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= SIGNALS
        raise OSError("no memory")

    monkeypatch.setattr(handover, "execute", fail)
    crew = Crew()
    answer = await Upgrade(crew, asyncio.Lock(), lambda _: None)._go_on({"fault": None, "changed": True}, -1)
    assert answer["changed"]
    assert "could not be replaced (no memory) and goes on" in answer["fault"]
    assert crew.did == ["pause", "take over", "go on"]
    assert crew.looks == 3, "nothing that a dead child held is left"


async def test_a_stop_that_was_signalled_in_the_last_moment_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "execute", lambda *_: pytest.fail("it was to stop"))
    crew = Crew()
    asyncio.get_running_loop().call_soon(setattr, crew, "stopping", True)
    answer = await Upgrade(crew, asyncio.Lock(), lambda _: None)._go_on({"fault": None}, -1)
    assert answer == {"fault": "the gateway is stopping"}


async def test_there_is_room_for_one_upgrade_until_the_last_ones_relays_have_ended() -> None:
    crew = Crew()
    crew.places = [Place("relay", seat, page) for seat, page in ((1, 1), (2, 2), (1, 3), (2, 4))]
    for place in crew.places[:2]:
        place.leaves_by = 1.0
    answer = await Upgrade(crew, asyncio.Lock(), lambda _: None).ask()
    assert answer["fault"] == "relays of the last upgrade still finish their requests; try again after them"
    del crew.places[:2]
    places = Upgrade(crew, asyncio.Lock(), lambda _: None)._places(crew.places)
    assert [(place.role, place.number, place.page) for place in places] == [
        ("relay", 1, 1), ("relay", 2, 2), ("management", 0, 0)
    ]  # fmt: skip


async def test_code_that_says_nothing_or_does_not_end_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (["true"], ["sh", "-c", "echo broken >&2; exit 1"], ["echo", "[1]"], ["no-such-program"]):
        monkeypatch.setattr(handover, "command", lambda module, fd, command=command: command)
        assert upgrade._proof(a_state())["fault"]
    monkeypatch.setattr(upgrade, "PROVED_WITHIN", 0.1)
    monkeypatch.setattr(handover, "command", lambda module, fd: ["sleep", "60"])
    assert "has not answered" in upgrade._proof(a_state())["fault"]
