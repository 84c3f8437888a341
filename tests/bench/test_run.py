from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from bench.api import ApiCall
from bench.cases import CASES, Case
from bench.gateways.gateway import Scene
from bench.keyset import make_keys
from bench.load import Load
from bench.open_loop import schedule
from bench.plan import Step
from bench.processes import Running, connect, free_port
from bench.run import Bench, Stage, settle, stage_of

from tests.bench.fakes import Plain

LITTLE = Path(__file__).with_name("little.py")
CORE = min(os.sched_getaffinity(0))
PACED = CASES["latency"]
SECONDS, RATE = 0.3, 300.0


class Little(Plain):
    """Answers as the bench expects, once the check is not asked."""

    def __init__(self, line: str = "") -> None:
        super().__init__("little")
        self.words = [line] if line else []

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        return [sys.executable, str(LITTLE), str(port), *self.words]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("bench.load.VARIED_REQUESTS", 3)
    monkeypatch.setattr("bench.run.WARM_UP", 0.1)
    monkeypatch.setattr("bench.run.check_policy", lambda *_, **__: None)
    port, keys = free_port(), make_keys(4)
    scene = Scene(tmp_path, (ApiCall("GET", "/v4/contacts", ()),), keys, port, CORE, tmp_path)
    stage = Stage(scene, Load(keys, tmp_path, CORE, RATE), tmp_path, {"unready": "could not be prepared: no space"})
    with Running([sys.executable, str(LITTLE), str(port)], CORE, tmp_path, "backend") as running:
        running.wait_for_answer(port)
        yield Bench({stage_of(PACED): stage}, running, SECONDS)


def test_a_turn_has_its_start_its_cost_and_every_request(bench: Bench) -> None:
    turn = bench.turn(Step(3, PACED, Little()))
    assert (turn.round, turn.case, turn.gateway) == (3, "latency", "little")
    assert turn.load.requests == len(schedule(RATE, SECONDS))
    assert turn.start is not None
    assert turn.start > 0
    assert turn.cpu.total > 0
    assert turn.load.pace is not None


def test_the_load_without_a_gateway_costs_the_backend_and_starts_nothing(bench: Bench) -> None:
    turn = bench.turn(Step(1, PACED, None))
    assert turn.gateway == "direct"
    assert turn.start is None
    assert turn.cpu.total > 0
    assert turn.backend_cpu == 0
    assert turn.load.requests == len(schedule(RATE, SECONDS))


def test_a_gateway_that_was_not_prepared_says_why(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="could not be prepared: no space"):
        bench.turn(Step(1, PACED, Plain("unready")))


def test_a_gateway_that_does_not_start_is_told_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="cannot begin"):
        bench.turn(Step(1, PACED, Plain("broken")))


def test_a_gateway_that_does_not_do_the_work_is_no_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def finds(*_: object, **__: object) -> None:
        raise RuntimeError("does not do the work: GET /: 200 instead of 401")

    monkeypatch.setattr("bench.run.check_policy", finds)
    with pytest.raises(RuntimeError, match="200 instead of 401"):
        bench.turn(Step(1, PACED, Little()))


def test_a_gateway_that_dies_in_its_turn_is_told_to_have_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def kills(_: Scene, port: int, **__: object) -> None:
        connection = connect(port, False, 5)
        connection.request("GET", "/die")
        connection.getresponse()

    monkeypatch.setattr("bench.run.check_policy", kills)
    with pytest.raises(RuntimeError, match="it ended with 3: "):
        bench.turn(Step(1, PACED, Little()))


def test_a_gateway_that_should_log_must_have_logged(bench: Bench) -> None:
    logged = replace(PACED, log=True)
    assert bench.turn(Step(1, logged, Little("{}"))).load.requests
    with pytest.raises(RuntimeError, match="0 log lines for"):
        bench.turn(Step(1, logged, Little()))


def test_a_start_is_over_when_it_takes_no_processor_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.LOOK", 0.01)
    looks = iter([1.0, 1.5, 1.6, 1.6, 2.0])
    settle(lambda: next(looks))
    assert next(looks) == 2.0


def test_who_stays_busy_is_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.LOOK", 0.01)
    monkeypatch.setattr("bench.run.SETTLED_WITHIN", 0.05)
    looks = count()
    with pytest.raises(RuntimeError, match="after its start"):
        settle(lambda: float(next(looks)))
