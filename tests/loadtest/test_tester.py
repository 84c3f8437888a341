"""The load tester against a small gateway: what it counts is what happened."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keystile import app
from keystile.loadtest import api, running, told
from keystile.loadtest import plan as plans
from keystile.loadtest.calls import calls_of, key_only
from keystile.loadtest.credentials import Credential
from keystile.loadtest.ground import Ground, arranged
from keystile.loadtest.plan import Plan, Target
from keystile.loadtest.records import summed
from keystile.loadtest.scenarios import Role
from keystile.loadtest.shape import RAMP, STEADY
from keystile.loadtest.summing import figures_of, kept
from keystile.loadtest.told import Progress, Yield
from tests.loadtest.running import scripted
from tests.loadtest.test_calls import GATEWAY

SETTINGS = app.load_settings(GATEWAY)
ROLES: tuple[Role, ...] = ("all", "reader", "elsewhere", "unknown", "none")
KEYS = (Credential("given", "K" * 96),)
ADDRESSES = tuple(f"127.1.0.{at}" for at in range(1, 9))


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with arranged(SETTINGS.operations, SETTINGS.keys, SETTINGS.limits, ROLES, workers=1) as made:
        yield made


def plan(ground: Ground, **changed: object) -> Plan:
    usual = Plan(
        Target("127.0.0.1", ground.port, "127.0.0.1"),
        "X-ElasticEmail-ApiKey",
        calls_of(SETTINGS.operations, "operations"),
        ground.keys,
        STEADY,
        users=16,
        seconds=2,
        rate=160,
        cap=20,
        width=0.25,
        sources=ADDRESSES,
    )
    return replace(usual, **changed)  # type: ignore[arg-type]  # fields of a plan


def run(planned: Plan) -> tuple[Yield, list[Progress]]:
    shown: list[Progress] = []
    return running.run(planned, shown.append), shown


def test_mixed_keys_slow_callers_and_many_addresses_end_as_they_should(ground: Ground) -> None:
    drip, sip = key_only(api.UPLOAD, "POST", "drip"), key_only(f"{api.LARGE}?kib=16", manner="sip")
    plain = calls_of(SETTINGS.operations, "operations")
    planned = plan(ground, calls=(*plain, drip, sip), slow_share=0.25, shape=RAMP, users=20, seconds=3)
    found, shown = run(planned)

    assert summed(found.windows, "wrong") == ()
    refused = dict(summed(found.windows, "refused"))
    assert set(refused) == {"scope-missing", "address-not-allowed", "invalid-api-key", "api-key-required"}
    ended = sum(window.ended for window in found.windows)
    assert found.seen_by_locust == (ended, 0)
    assert sum(call.requests for call in found.calls) == ended
    assert sum(each.requests for each in found.addresses) == ended
    assert all(each.requests for each in found.addresses)
    slow = {call.template: call for call in found.calls if call.template.startswith(api.PREFIX)}
    assert {name: bool(call.requests or found.lost) for name, call in slow.items()} == {
        api.UPLOAD: True,
        api.LARGE: True,
    }
    assert {frozenset(call.latency) for call in slow.values()} == {frozenset()}
    assert len(found.windows) == 12
    assert 1 < max(window.users for window in found.windows) <= 20
    assert shown
    figures = figures_of(found.windows, found.addresses, (), planned)
    assert figures.offered is not None
    assert figures.offered > 0


def test_of_25_at_once_exactly_20_are_let_in(ground: Ground) -> None:
    held = key_only(f"{api.HELD}?ms=1500")
    keys = tuple(key for key in ground.keys if key.name == "all")
    planned = plan(
        ground,
        calls=(held,),
        keys=keys,
        users=25,
        seconds=2.5,
        rate=None,
        rounds=1,
        sources=ADDRESSES[:1],
        may=("too-many-at-once",),
    )
    found, _ = run(planned)
    assert [(each.sent, each.let_in, each.refused, each.other) for each in found.rounds] == [(25, 20, 5, 0)]
    assert kept(found.addresses, [each for each in found.rounds if each.held], planned) in (True, None)
    assert 20 < found.addresses[0].asked <= 25  # the first refusal may come before the last one has asked
    assert Counter(dict(summed(found.windows, "refused"))) == {"too-many-at-once": 5}
    assert found.lost == 0


def test_a_gateway_that_is_not_there_fails_every_request() -> None:
    with scripted() as server:
        port = server.port
    gone = Plan(
        Target("127.0.0.1", port, "127.0.0.1"),
        "X-Api-Key",
        (key_only("/a"),),
        KEYS,
        STEADY,
        2,
        1,
        20,
        20,
        0.25,
        ADDRESSES,
    )
    found, _ = run(gone)
    assert set(dict(summed(found.windows, "wrong"))) == {"no-connection"}
    assert found.seen_by_locust[0] == found.seen_by_locust[1] > 0


def test_it_ends_at_once_when_nobody_wants_it_any_more() -> None:
    with scripted() as server:
        planned = Plan(server.target, "X-Api-Key", (key_only("/a"),), KEYS, STEADY, 1, 500, 1, 20, 1)
        command = [sys.executable, "-m", "keystile.loadtest.tester"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(plans.write(planned))
            process.stdin.flush()
            assert isinstance(told.read(process.stdout.readline()), Progress)
            process.communicate(timeout=60)
    assert process.returncode == 1
