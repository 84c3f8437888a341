"""The store is locked, full, gone, damaged or set back while requests come: every answer is accounted for.

Law: one gateway for all of it, so that each trouble must leave it as it was. Where this user may mount, the store and
the access log lie on a small file system of their own, that can be filled.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import OWNER, Gateway, answered, serving, settings
from tests.lacking import lacks
from tests.process.running import until

TRUST = 3.0
README = Path(__file__).parent.parent.parent / "README.md"
RESTORE = "mkdir old; for f in keystile.db keystile-passwords.db; do mv $f $f-* old/; mv /backup/$f .; done"
CREATE = ("keys", "create", "--account", OWNER, "--name")


class Traffic:
    """Requests with one key, one after the other, from a thread; counted by status."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self.answers: Counter[int] = Counter()
        self.broken: list[Exception] = []
        self._gateway = gateway
        self._key = key
        self._stop = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(60)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.ports[0], timeout=30)
        while not self._stop and not self.broken:
            try:
                status, _ = answered(connection, "GET", "/x", headers={"X-Api-Key": self._key})
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(error)
            else:
                self.answers[status] += 1
            time.sleep(0.005)
        connection.close()

    def wait_for(self, status: int, more: int = 20) -> None:
        """Until so many more answers with this status have come."""
        before = self.answers[status]
        until(lambda: self.answers[status] >= before + more or self.broken, within=60)
        assert not self.broken


class Scene:
    """``place``: the folder of the store. ``room``: of which file system it is the only user, None without one."""

    def __init__(self, gateway: Gateway, place: Path, room: Path | None, key: str) -> None:
        self.gateway = gateway
        self.place = place
        self.room = room
        self.key = key
        self.store = place / "keystile.db"

    def traffic(self) -> Traffic:
        return Traffic(self.gateway, self.key)

    def usage(self) -> int:
        """Answered requests with the key, as the store has them."""
        with closing(sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True)) as connection:
            [(sums,)] = connection.execute("SELECT total(requests) FROM usage WHERE refusal = ''")
            return int(sums)

    def keys(self) -> dict[str, str]:
        """Ids of keys by name, as the store has them."""
        with closing(sqlite3.connect(f"{self.store.as_uri()}?mode=ro", uri=True)) as connection:
            return dict(connection.execute("SELECT name, id FROM keys").fetchall())

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.gateway.look("/health"))
        return answer

    def said(self, what: str) -> bool:
        """Whether health is degraded, and says so."""
        health = self.health()
        return health["status"] == "degraded" and any(what in warning for warning in health["warnings"])

    def is_well(self) -> bool:
        return self.health() == {"status": "ok"}


async def _answer(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@contextmanager
def small_file_system(folder: Path) -> Iterator[Path | None]:
    """A file system of 3 MiB at ``folder``; None where this user may not mount."""
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and os.geteuid() == 0 and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )  # fmt: skip
    if not made or made.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("away")
    place = directory / "room" / "store"
    with small_file_system(directory / "room") as room, answering(_answer) as port:
        place.mkdir()
        written = settings(
            port,
            [{"path": "/*", "scope": "A"}],
            store=f"sqlite:///{place / 'keystile.db'}",
            trust_without_store=f"{TRUST:g}s",
            access_log=str(directory / "room" / "access.log"),
            workers=2,
        )
        with serving(directory, written) as gateway:
            yield Scene(gateway, place, room, gateway.create_key("one", "A"))
            assert gateway.status()["restarts"] == 0
            assert gateway.err.read_text().count("\n") < 30  # what goes on for long is not said again and again


def test_a_locked_store_holds_up_changes_for_a_while_and_nothing_else(scene: Scene) -> None:
    gateway = scene.gateway
    before = scene.usage()
    with scene.traffic() as traffic, closing(sqlite3.connect(scene.store, isolation_level=None)) as other:
        traffic.wait_for(200)
        other.execute("BEGIN EXCLUSIVE")
        said = gateway.run(*CREATE, "two")
        assert (said.code, said.out) == (1, "")
        assert said.err == f"keystile: the store {scene.store}: another program has kept it locked for too long\n"
        until(lambda: scene.said("last uses and usage: cannot be written and wait: another program"), within=30)
        assert gateway.metric("store_write_failures_total") > 0
        assert list(scene.keys()) == ["one"]
        traffic.wait_for(200)
        other.execute("ROLLBACK")
        until(scene.is_well, within=30)
    assert set(traffic.answers) == {200}
    until(lambda: scene.usage() - before == traffic.answers[200], within=30)  # kept, and written later
    assert gateway.metric("usage_unwritten_total") == gateway.metric("last_uses_unwritten_total") == 0
    gateway.create_key("two")


def test_a_full_disk_fails_changes_and_loses_log_lines_until_there_is_room(scene: Scene) -> None:
    if scene.room is None:
        # Only a file system of its own can be filled without harm, and mounting one takes rights that few users have.
        lacks("this user may not mount a file system to fill", not_even_in_ci=True)
    gateway = scene.gateway
    before, keys = scene.usage(), scene.keys()
    with scene.traffic() as traffic:
        traffic.wait_for(200)
        filling = _fill(scene.room)
        said = gateway.run("accounts", "create", "a@x.org", "--password-stdin", stdin="a password\n")
        assert (said.code, said.out) == (1, "")
        assert said.err == f"keystile: the store {scene.store}: database or disk is full\n"
        until(lambda: scene.said("cannot be written and wait: database or disk is full"), within=30)
        until(lambda: gateway.metric("log_lines_unwritten_total") > 0, within=30)
        refused = gateway.run("backup", str(scene.room))
        assert (refused.code, sorted(os.listdir(scene.room))) == (1, ["access.log", "filling", "store"])
        traffic.wait_for(200)
        filling.unlink()
        until(scene.is_well, within=30)
        traffic.wait_for(200)
    assert set(traffic.answers) == {200}
    until(lambda: scene.usage() - before == traffic.answers[200], within=30)
    assert scene.keys() == keys
    log = gateway.err.read_text()
    assert log.count("access-log lines cannot be written") == log.count("access-log lines can be written again") == 1


def _fill(room: Path) -> Path:
    """Leave no byte free."""
    file = room / "filling"
    with file.open("wb", buffering=0) as filling, pytest.raises(OSError, match="No space"):
        _write_for_ever(filling)
    return file


def _write_for_ever(file: RawIOBase) -> None:
    while True:
        file.write(b"x" * 4096)


def test_without_its_store_it_goes_on_for_a_while_then_refuses_and_comes_back_by_itself(scene: Scene) -> None:
    gateway, away = scene.gateway, scene.place.with_name("away")
    with scene.traffic() as traffic:
        traffic.wait_for(200)
        scene.place.rename(away)
        until(lambda: scene.said("store: cannot be read: No such file or directory"), within=30)
        until(lambda: scene.said("relays and store: 2 cannot read it and use the keys they know"), within=30)
        assert traffic.answers[503] == 0 or scene.health()["status"] == "failing"
        assert gateway.run(*CREATE, "three").code == 1
        traffic.wait_for(503)
        until(lambda: gateway.metric("keys_unavailable") == 2, within=30)
        health = scene.health()
        assert (health["status"], len(health["reasons"])) == ("failing", 1)
        assert "2 relays refuse them" in health["reasons"][0]
        assert not scene.place.exists()
        away.rename(scene.place)
        traffic.wait_for(200)
        until(scene.is_well, within=30)
    assert set(traffic.answers) == {200, 503}
    assert set(scene.keys()) == {"one", "two"}


def test_a_store_whose_file_is_gone_is_not_made_anew_by_whoever_looks(scene: Scene) -> None:
    """An empty one in its place would refuse every key at once."""
    gateway, kept = scene.gateway, scene.place / "kept"
    with scene.traffic() as traffic:
        scene.store.rename(kept)
        for words in (("keys", "list"), (*CREATE, "four")):
            said = gateway.run(*words)
            assert (said.code, said.out) == (1, "")
            assert "it is gone, but the passwords beside it are there; put it back" in said.err
        kept.rename(scene.store)
        until(scene.is_well, within=30)
        traffic.wait_for(200)
    assert set(traffic.answers) <= {200, 503}  # 503 where this took longer than the keys are trusted


def test_a_damaged_header_is_named_and_mended_without_a_restart(scene: Scene) -> None:
    gateway = scene.gateway
    with scene.traffic() as traffic, scene.store.open("r+b", buffering=0) as file:
        header = file.read(100)
        file.seek(0)
        file.write(b"this was a database".ljust(100))
        until(lambda: scene.said("relays and store: 2 cannot read it"), within=30)
        said = gateway.run("keys", "list")
        assert (said.code, said.err) == (1, f"keystile: the store {scene.store}: file is not a database\n")
        file.seek(0)
        file.write(header)
        until(scene.is_well, within=30)
        traffic.wait_for(200)
    assert set(traffic.answers) <= {200, 503}


def test_a_backup_that_is_put_in_place_is_what_counts_at_once(scene: Scene) -> None:
    """As the README has it, while requests come."""
    assert RESTORE in README.read_text(encoding="utf-8")
    gateway, copies = scene.gateway, scene.place.with_name("copies")
    copies.mkdir()
    made = gateway.ask("backup", str(copies))
    assert (made["accounts"], made["keys"]) == (1, 2)
    kept = scene.keys()
    later = gateway.create_key("later", "A")
    assert gateway.call(path="/x", headers={"X-Api-Key": later})[0] == 200
    with scene.traffic() as traffic:
        subprocess.run(["sh", "-c", RESTORE.replace("/backup/", "../copies/")], cwd=scene.place, check=True)
        until(lambda: gateway.call(path="/x", headers={"X-Api-Key": later})[0] == 401, within=30)
        until(scene.is_well, within=30)
        traffic.wait_for(200)
    assert set(traffic.answers) == {200}
    assert scene.keys() == kept
    gateway.keys("delete", "one")  # heard at once, with whatever bell
    assert gateway.call(path="/x", headers={"X-Api-Key": scene.key})[0] == 401


def test_a_start_without_a_readable_store_ends_with_one_line_that_says_why(tmp_path: Path) -> None:
    """One that the settings' check finds, and one that only whoever opens it finds."""
    reasons = {"lies in a directory that does not exist": tmp_path / "1", "file is not a database": tmp_path / "2"}
    started = []
    for why, folder in reasons.items():
        folder.mkdir()
        if why.startswith("file"):
            (folder / "store").mkdir()
            (folder / "store" / "keystile.db").write_bytes(b"this is not a database, whatever its name" * 100)
        written = settings(9, [{"path": "/*", "scope": "A"}], store="sqlite:///store/keystile.db")
        started.append(Gateway(folder, written))
        started[-1].start()
    try:
        for why, gateway in zip(reasons, started, strict=True):
            assert gateway.process.wait(100) == 1, why
            said = gateway.err.read_text()
            assert why in said
            assert "keystile.db" in said
            assert (said.count("\n"), gateway.out.read_text()) == (1, ""), said
    finally:
        for gateway in started:
            gateway.close()
