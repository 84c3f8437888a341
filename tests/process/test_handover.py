from __future__ import annotations

import dataclasses
import json
import os

import pytest

from keystile.process import handover
from keystile.process.handover import Files, Filled, NotUnderstood, State, inheritable, layouts
from keystile.process.snapshot import memory_file


def some_files(**changes: object) -> Files:
    single = [name for name in Files.__dataclass_fields__ if name != "groups"]
    fields: dict[str, object] = {**dict.fromkeys(single, -1), "groups": []}
    return Files(**{**fields, **changes})  # type: ignore[arg-type]


def a_state(**changes: object) -> State:
    files = some_files()
    relay = Filled("relay", 1, 3, 4711, -1, ready=True, standby=False, failures=0, leaves_by=12.5)
    fields: dict[str, object] = {
        "version": "1.0",
        "layouts": layouts(),
        "files": files,
        "places": [relay],
        "empty": [("management", 0, 0, 2)],
        "parts": {},
        "charge": "{}",
        "configurations": {"last": 3},
        "began": 1.5,
    }
    return State(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_state_is_read_as_it_was_written() -> None:
    state = a_state(report={"fault": None})
    fd = state.seal()
    assert handover.read(fd) == state
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("name", list(layouts()))
def test_another_layout_of_whatever_is_shared_is_named(name: str) -> None:
    fd = a_state(layouts={**layouts(), name: "another"}).seal()
    with pytest.raises(NotUnderstood, match=f"lays out otherwise: {name}$"):
        handover.read(fd)
    os.close(fd)


def test_a_state_with_something_that_is_not_known_or_missing_is_not_understood() -> None:
    written = dataclasses.asdict(a_state())
    for other in ({**written, "more": 1}, {**written, "files": {"lock": 1}}, {"layouts": layouts()}):
        fd = memory_file("state", json.dumps(other).encode())
        with pytest.raises(NotUnderstood, match="the state is not understood"):
            handover.read(fd)
        os.close(fd)


def test_every_descriptor_is_handed_over_and_none_that_there_is_not() -> None:
    files = some_files(lock=10, control=11, snapshot=12, calls=20, groups=[[21, 22], [23]])
    relay = dataclasses.replace(a_state().places[0], line=30)
    state = a_state(files=files, places=[relay, a_state().places[0]])
    assert sorted(state.descriptors()) == [10, 11, 12, 20, 21, 22, 23, 30]


def test_descriptors_are_inheritable_only_for_the_exec() -> None:
    reading, writing = os.pipe()
    with inheritable([reading, writing]):
        assert os.get_inheritable(reading)
        assert os.get_inheritable(writing)
    assert not os.get_inheritable(reading)
    os.close(reading)
    os.close(writing)


def test_what_was_opened_for_it_alone_is_let_go_where_nobody_takes_it_up() -> None:
    before, answer = os.pipe()
    a_state(files=some_files(before=before, answer=answer)).close()
    for fd in (before, answer):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
