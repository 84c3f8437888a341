"""What the new code has to understand, one thing after the other; with a state as a supervisor would hand it over."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from keystile import __version__
from keystile.process import proof
from keystile.process.handover import Files, State
from keystile.process.shared import Shared
from keystile.process.snapshot import memory_file
from keystile.storage import migrate
from keystile.storage.errors import StoreUnreadable
from tests.process.stand_in import SMALL, settings_for
from tests.process.test_handover import a_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    shared = Shared(settings_for(tmp_path, workers=1))
    yield a_state(
        files=Files(lock=-1, control=-1, before=-1, **shared.handed()),
        parts=asdict(SMALL),
        charge=shared.management_charge(SMALL.counters).to_json(),
    )
    shared.close()


def looked_at(state: State) -> None:
    fd = state.seal()
    try:
        proof.look(fd)
    finally:
        os.close(fd)


def test_the_same_version_takes_up_the_state_and_leaves_it_as_it_is(state: State) -> None:
    looked_at(state)
    looked_at(state)


def test_a_charge_with_something_that_is_not_known_is_refused(state: State) -> None:
    with pytest.raises(TypeError, match="more"):
        looked_at(dataclasses.replace(state, charge=json.dumps({**json.loads(state.charge), "more": 1})))


def test_modules_that_do_not_load_are_found_now_and_not_when_they_are_needed(state: State) -> None:
    with pytest.raises(ModuleNotFoundError):
        looked_at(dataclasses.replace(state, parts={**state.parts, "relay": "no.such:relay"}))


def test_memory_of_something_else_is_refused(state: State) -> None:
    fd = memory_file("other", b"x" * 8192)
    for files in (dataclasses.replace(state.files, slots=fd), dataclasses.replace(state.files, snapshot=fd)):
        with pytest.raises(ValueError, match=r"not a slot table|not sealed"):
            looked_at(dataclasses.replace(state, files=files))
    os.close(fd)


def test_a_store_of_a_newer_version_is_refused(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(migrate, "must_let_go_on", lambda path, series: looked.append(path))
    looked_at(state)
    assert [path.name for path in looked] == ["keystile.db", "keystile-passwords.db"]

    def newer(path: Path, series: migrate.Series) -> None:
        raise StoreUnreadable("it is of a newer Keystile")

    monkeypatch.setattr(migrate, "must_let_go_on", newer)
    with pytest.raises(StoreUnreadable):
        looked_at(state)


def test_it_says_its_version_and_what_is_wrong(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, fault in ((state, None), (dataclasses.replace(state, layouts={}), "it lays out otherwise")):
        fd = given.seal()
        monkeypatch.setattr("sys.argv", ["proof", str(fd)])
        assert proof.main() == 0
        os.close(fd)
        said = json.loads(capsys.readouterr().out)
        assert said["version"] == __version__
        assert said["fault"] is None if fault is None else said["fault"].startswith(fault)
