"""What the command line does to keys while four relays run counts for the very next request on each of them."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import OWNER, Gateway, answered, connections_to_every_relay, iso, serving, settings
from tests.process.running import until

RELAYS = 4
_numbers = count(1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["X-Keystile-Key"])

    routes: list[dict[str, object]] = [{"path": "/view", "scope": "View"}, {"path": "/any", "key_only": True}]
    keys = {"per_account": 100}
    with (
        answering(who) as port,
        serving(tmp_path_factory.mktemp("gateway"), settings(port, routes, workers=RELAYS, keys=keys)) as gateway,
    ):
        yield gateway


class Relays:
    """A kept-alive connection to each relay."""

    def __init__(self, connections: dict[int, http.client.HTTPConnection]) -> None:
        self.connections = connections

    def statuses(self, secret: str, path: str = "/view") -> list[int]:
        """What each relay answers to one request with this key."""
        fields = {"X-Api-Key": secret}
        return [answered(each, "GET", path, headers=fields)[0] for each in self.connections.values()]


@pytest.fixture(scope="module")
def relays(gateway: Gateway) -> Iterator[Relays]:
    with connections_to_every_relay(gateway) as connections:
        assert len(connections) == RELAYS
        yield Relays(connections)


@pytest.fixture
def name() -> str:
    """Of a key that no other test has."""
    return f"key {next(_numbers)}"


def everywhere(status: int) -> list[int]:
    return [status] * RELAYS


@pytest.mark.parametrize("_", range(5))
def test_a_created_key_works_and_a_deleted_one_does_not(gateway: Gateway, relays: Relays, name: str, _: int) -> None:
    secret = gateway.create_key(name, "View")
    assert relays.statuses(secret) == everywhere(200)
    gateway.keys("delete", name)
    assert relays.statuses(secret) == everywhere(401)


def test_an_edited_key_has_its_new_scopes(gateway: Gateway, relays: Relays, name: str) -> None:
    secret = gateway.create_key(name)
    assert relays.statuses(secret) == everywhere(403)
    gateway.keys("edit", name, "--scope", "View")
    assert relays.statuses(secret) == everywhere(200)
    gateway.keys("edit", name, "--no-scopes")
    assert relays.statuses(secret) == everywhere(403)


def test_an_edited_key_has_its_new_networks(gateway: Gateway, relays: Relays, name: str) -> None:
    secret = gateway.create_key(name, "View")
    assert relays.statuses(secret) == everywhere(200)
    gateway.keys("edit", name, "--allow", "10.0.0.0/8", "--allow", "2001:db8::1-2001:db8::9")
    assert relays.statuses(secret) == everywhere(403)
    gateway.keys("edit", name, "--allow", "127.0.0.1-127.0.0.9")
    assert relays.statuses(secret) == everywhere(200)


def test_a_changed_key_has_only_its_new_secret(gateway: Gateway, relays: Relays, name: str) -> None:
    old = gateway.create_key(name, "View")
    assert relays.statuses(old) == everywhere(200)
    new = gateway.keys("change", name)["key"]
    assert (relays.statuses(old), relays.statuses(new)) == (everywhere(401), everywhere(200))


def test_a_key_changed_with_an_overlap_has_both_until_it_ends(gateway: Gateway, relays: Relays, name: str) -> None:
    old = gateway.create_key(name, "View")
    before = time.time()
    new = gateway.keys("change", name, "--overlap", "3s")["key"]
    follow_until_refused(relays, old, (before + 3, time.time() + 3))
    assert relays.statuses(new) == everywhere(200)


def test_in_an_overlap_each_secret_has_a_last_use_of_its_own(gateway: Gateway, relays: Relays, name: str) -> None:
    old = gateway.create_key(name, "View")
    assert relays.statuses(old) == everywhere(200)
    new = gateway.keys("change", name, "--overlap", "1h")["key"]
    until(lambda: gateway.listed(name)["last_used"])
    before = gateway.listed(name)
    assert before["old_last_used"] == before["last_used"]  # only the old one has been used
    time.sleep(1.1)  # moments are listed to the second
    assert relays.statuses(new) == everywhere(200)
    until(lambda: gateway.listed(name)["last_used"] > before["last_used"])
    assert gateway.listed(name)["old_last_used"] == before["old_last_used"]
    assert relays.statuses(old) == everywhere(200)
    until(lambda: gateway.listed(name)["old_last_used"] > before["old_last_used"])
    assert gateway.listed(name)["old_last_used_from"] == "127.0.0.1"


def follow_until_refused(relays: Relays, secret: str, ends: tuple[float, float]) -> None:
    """A request answered before the end (known to lie between two moments) has passed, one begun after it has not."""
    passed = 0
    while True:
        began = time.time()
        statuses = relays.statuses(secret)
        if time.time() < ends[0]:
            assert statuses == everywhere(200)
            passed += 1
        elif began > ends[1]:
            assert statuses == everywhere(401)
            break
        time.sleep(0.02)
    assert passed


def test_an_expired_key_is_refused_from_that_moment(gateway: Gateway, relays: Relays, name: str) -> None:
    ends = round(time.time() + 2, 3)
    secret = gateway.create_key(name, "View", more=["--expires", iso(ends)])
    follow_until_refused(relays, secret, (ends - 0.001, ends + 0.001))
    gateway.keys("edit", name, "--expires", "never")
    assert relays.statuses(secret) == everywhere(200)


def test_an_imported_key_works_without_check_digits(gateway: Gateway, relays: Relays, name: str) -> None:
    secret = hashlib.sha512(name.encode()).hexdigest()[:96].upper()
    assert relays.statuses(secret) == everywhere(401)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    gateway.keys("import", name, "--digest", digest, "--hint", secret[-5:], "--scope", "View")
    assert relays.statuses(secret) == everywhere(200)
    gateway.keys("delete", name)
    assert relays.statuses(secret) == everywhere(401)


def test_the_keys_of_a_deleted_account_are_gone(gateway: Gateway, relays: Relays) -> None:
    gateway.create_account("leaver@example.com")
    secrets = [gateway.create_key(f"key {n}", "View", account="leaver@example.com") for n in range(3)]
    assert [relays.statuses(secret) for secret in secrets] == [everywhere(200)] * 3
    assert gateway.run("accounts", "delete", "leaver@example.com").code == 0
    assert [relays.statuses(secret) for secret in secrets] == [everywhere(401)] * 3


def test_a_renamed_key_goes_on_under_its_id(gateway: Gateway, name: str) -> None:
    created = gateway.keys("create", name)
    gateway.keys("edit", name, "--rename", f"{name} anew")
    assert gateway.call("GET", "/any", headers={"X-Api-Key": created["key"]}) == (200, created["id"].encode())


def test_the_last_use_is_listed(gateway: Gateway, relays: Relays, name: str) -> None:
    secret = gateway.create_key(name, "View")
    assert gateway.listed(name)["last_used"] is None
    before = time.time()
    assert relays.statuses(secret) == everywhere(200)
    after = time.time()

    def last_use() -> bool:
        used = gateway.listed(name)["last_used"]
        return used is not None and before - 1 <= datetime.fromisoformat(used).timestamp() <= after

    until(last_use)
    assert gateway.listed(name)["last_used_from"] == "127.0.0.1"


def test_a_refused_key_was_not_used_by_whoever_mistyped_it(gateway: Gateway, relays: Relays, name: str) -> None:
    secret = gateway.create_key(name, "View")
    other = gateway.create_key(f"{name} of comparison", "View")
    wrong = ("0" if secret[0] != "0" else "1") + secret[1:]
    assert relays.statuses(wrong) == everywhere(401)
    assert relays.statuses(other) == everywhere(200)
    until(lambda: gateway.listed(f"{name} of comparison")["last_used"])
    assert gateway.listed(name)["last_used"] is None


def test_keys_made_before_the_first_start_work_from_the_first_request(tmp_path: Path) -> None:
    async def fine(_: web.Request) -> web.Response:
        return web.Response()

    with answering(fine) as port:
        gateway = Gateway(tmp_path, settings(port, [{"path": "/any", "key_only": True}]))
        gateway.create_account(OWNER)
        secret = gateway.create_key("first")
        gateway.start()
        try:
            gateway.wait_until_ready()
            assert gateway.call("GET", "/any", headers={"X-Api-Key": secret})[0] == 200
            assert gateway.stop() == 0
        finally:
            gateway.close()
