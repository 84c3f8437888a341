"""Two hosts over one database, behind something that sends each request to the one or the other.

The store lies in the database, so all of this should follow; here it is seen from outside, with real gateways.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.cluster.two_hosts import Hosts, two_hosts, until
from tests.e2e.running import OWNER, PASSWORD
from tests.storage.postgres_server import needs_postgresql

OPERATOR = "op@example.com"
GUESSED = "guessed@example.com"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_SECRET = re.compile("[0-9A-F]{96}")
_FORM = re.compile(r'name="form" value="([^"]+)"')


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    needs_postgresql()
    with two_hosts(tmp_path_factory.mktemp("hosts"), workers=1) as hosts:
        make_operator(hosts)
        yield hosts


def make_operator(hosts: Hosts) -> None:
    """By the link that one of them has made at its start; the other's start took nothing from it."""
    files = [file for gateway in hosts.gateways for file in gateway.directory.glob("*-setup-link.txt")]
    assert len(files) == 1
    at = [gateway.directory for gateway in hosts.gateways].index(files[0].parent)
    token = files[0].read_text().strip().partition("token=")[2]
    browser = Browser(hosts)
    assert browser.send(at, "GET", f"/link?token={token}") == 200
    typed = {"token": token, "email": OPERATOR, "password": PASSWORD, "again": PASSWORD}
    assert browser.form(1 - at, "/link", typed) == 303, browser.text


class Browser:
    """Somebody with cookies, whose every request goes to the host that ``at`` says, under one name."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.cookies: dict[str, str] = {}
        self.text = ""
        self.headers: dict[str, str] = {}

    def send(self, at: int, method: str, path: str, body: str | None = None, **fields: str) -> int:
        """The status; what was said is in ``text`` and ``headers``."""
        given = {"Host": "localhost:8081", **{name.replace("_", "-"): value for name, value in fields.items()}}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self._hosts.gateways[at].management, timeout=30)
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            self.text = answer.read().decode()
            self.headers = dict(answer.headers.items())
            for line in answer.headers.get_all("Set-Cookie", []):
                self._take(line)
            return answer.status
        finally:
            connection.close()

    def form(self, at: int, path: str, fields: dict[str, str]) -> int:
        """Send a form as the page that was shown last has it."""
        hidden = {"csrf": _CSRF.findall(self.text)[-1]}  # the page's own, behind that of the frame
        return self.send(
            at, "POST", path, urlencode(hidden | fields), Content_Type="application/x-www-form-urlencoded"
        )

    def sign_in(self, at: int, email: str, password: str = PASSWORD, *, form_at: int = 0) -> int:
        """Sign in at one host with the form of another."""
        self.send(form_at, "GET", "/sign-in")
        return self.form(at, "/sign-in", {"email": email, "password": password})

    def api(self, at: int, method: str, path: str, body: Any = None, **fields: str) -> tuple[int, Any]:
        """Status and document of a call of the API."""
        if self.cookies:
            self.send(at, "GET", "/api/me")
            fields["X_CSRF_Token"] = json.loads(self.text)["csrf"]
        text = None if body is None else json.dumps(body)
        status = self.send(at, method, path, text, Content_Type="application/json", **fields)
        return status, json.loads(self.text) if self.text else None

    def _take(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            if morsel.value and morsel["max-age"] != "0":
                self.cookies[name] = morsel.value
            else:
                self.cookies.pop(name, None)


@pytest.fixture
def browser(hosts: Hosts) -> Browser:
    return Browser(hosts)


def signed_in(hosts: Hosts, email: str = OWNER) -> Browser:
    made = Browser(hosts)
    assert made.sign_in(0, email) == 303, made.text
    return made


# -- coming in -------------------------------------------------------------------------------------------------


def test_a_session_that_was_begun_at_one_host_is_good_at_the_other_and_out_is_out_at_once(hosts: Hosts) -> None:
    for here, there in ((0, 1), (1, 0)):
        browser = Browser(hosts)
        assert browser.sign_in(here, OWNER, form_at=there) == 303, browser.text  # the form was the other's
        cookies = dict(browser.cookies)
        for at in (here, there):
            assert browser.send(at, "GET", "/keys") == 200
        assert browser.form(there, "/sign-out", {}) == 303
        browser.cookies = cookies
        for at in (here, there):
            assert browser.send(at, "GET", "/api/me") == 401


def test_a_form_of_one_host_is_taken_by_the_other_and_does_its_work_once(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    assert browser.send(0, "GET", "/keys/new") == 200
    page, number = browser.text, _FORM.findall(browser.text)[0]
    fields = {"form": number, "name": "over hosts", "access": "full"}
    assert browser.form(1, "/keys/new", fields) == 200, browser.text
    assert _SECRET.search(browser.text)
    for at in (0, 1):
        browser.text = page
        assert browser.form(at, "/keys/new", fields) == 409
        assert not _SECRET.search(browser.text)
    names = [key["name"] for key in browser.api(1, "GET", "/api/keys")[1]["items"]]
    assert names.count("over hosts") == 1


def test_a_link_of_one_host_sets_a_password_at_the_other_once_and_ends_sessions_on_both(hosts: Hosts) -> None:
    operator, browser, person = signed_in(hosts, OPERATOR), Browser(hosts), "new@example.com"
    status, made = operator.api(0, "POST", "/api/accounts", {"email": person})
    assert status == 201
    for at, link, password in ((1, made["link"], PASSWORD), (0, "", "quite another password")):
        if not link:
            link = operator.api(1 - at, "POST", f"/api/accounts/{made['id']}/password-link", {})[1]["link"]
        path, token = "/link" + link.partition("/link")[2], link.partition("token=")[2]
        typed = {"token": token, "password": password, "again": password}
        assert browser.send(1 - at, "GET", path) == 200
        assert browser.form(at, "/link", typed) == 303, browser.text
        assert [browser.send(each, "GET", path) for each in (0, 1)] == [410, 410]
        assert browser.send(1 - at, "GET", "/api/me") == 401  # who was signed in with the former one is out
        assert browser.sign_in(1 - at, person, password, form_at=at) == 303


def test_wrong_passwords_at_both_hosts_count_together(hosts: Hosts, browser: Browser) -> None:
    """Five are free at an account, whether there is one or not; by itself each host would let nine pass, and more."""
    seen: list[int] = []
    while 429 not in seen:
        seen.append(browser.sign_in(len(seen) % 2, GUESSED, f"guess number {len(seen)}"))
    assert set(seen) == {401, 429}
    assert 5 <= seen.count(401) < 9, "further ones are looked at only after 1, 2, 4 seconds"
    assert browser.sign_in(len(seen) % 2, GUESSED) == 429
    assert browser.sign_in(1, OWNER) == 303  # and nobody else is held off


def test_a_management_token_of_one_host_works_at_the_other_until_it_is_deleted_there(hosts: Hosts) -> None:
    browser, program = signed_in(hosts), Browser(hosts)
    status, made = browser.api(0, "POST", "/api/tokens", {"name": "robot"})
    assert status == 201
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert [program.api(at, "GET", "/api/me", **bearer)[0] for at in (1, 0)] == [200, 200]
    assert browser.api(1, "DELETE", f"/api/tokens/{made['id']}")[0] == 204
    assert [program.api(at, "GET", "/api/me", **bearer)[0] for at in (0, 1)] == [401, 401]


# -- the same twice --------------------------------------------------------------------------------------------


def create(browser: Browser, at: int, name: str, once: str) -> tuple[int, Any]:
    return browser.api(at, "POST", "/api/keys", {"name": name, "scopes": ["View"]}, Idempotency_Key=once)


def test_an_idempotency_key_that_is_repeated_at_the_other_host_makes_nothing_again(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    first, made = create(browser, 0, "idempotent", "a")
    again, repeated = create(browser, 1, "idempotent", "a")
    assert (first, again) == (201, 200)
    assert repeated == {**made, "key": None, "note": repeated["note"]}
    assert create(browser, 1, "another", "a")[1]["type"] == "urn:keystile:problem:idempotency-key-reused"


def test_of_many_at_once_at_both_hosts_one_makes_it_and_the_others_hear_that_it_is_or_was(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    for number in range(3):
        answers: list[tuple[int, Any]] = []

        def ask(at: int, number: int = number, answers: list[tuple[int, Any]] = answers) -> None:
            each = Browser(hosts)
            each.cookies = dict(browser.cookies)
            answers.append(create(each, at, f"at once {number}", f"once-{number}"))

        asking = [threading.Thread(target=ask, args=(at,)) for at in (0, 1, 0, 1, 0, 1)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        statuses = sorted(status for status, _ in answers)
        assert statuses.count(201) == 1
        assert set(statuses) <= {200, 201, 409}
        told = {said["type"].rpartition(":")[2] for status, said in answers if status == 409}
        assert told <= {"in-progress"}  # nobody was cut off, so nobody may be told that nobody knows
    names = [key["name"] for key in browser.api(1, "GET", "/api/keys")[1]["items"]]
    assert [names.count(f"at once {number}") for number in range(3)] == [1, 1, 1]


# -- what was asked, and what has happened ---------------------------------------------------------------------


def test_uses_and_usage_of_both_hosts_add_up(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    made = create(browser, 0, "counted", "counted")[1]
    until(lambda: hosts.status(1, made["key"]) == 200)
    callers = [hosts.caller(at, made["key"]) for at in (0, 1)]
    for number in range(60):
        assert callers[number % 3 % 2].call() == 200
    callers[1].call()
    for caller in callers:
        caller.close()

    def summed(at: int) -> int:
        found = browser.api(at, "GET", f"/api/keys/{made['id']}/usage")[1]["hours"]
        return sum(hour["answered"] for hour in found)

    until(lambda: summed(0) >= 62)
    time.sleep(1.1)  # whatever would be counted twice has been by then
    assert [summed(at) for at in (0, 1)] == [62, 62]
    shown = [browser.api(at, "GET", f"/api/keys/{made['id']}")[1]["last_used"] for at in (0, 1)]
    assert shown[0] == shown[1]
    callers[0].call()
    until(lambda: browser.api(1, "GET", f"/api/keys/{made['id']}")[1]["last_used"] > shown[0])
    callers[0].close()


def test_what_happened_on_both_hosts_stands_in_one_order(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    wanted = [f"audited {number}" for number in range(5)]
    for number, name in enumerate(wanted):
        made = create(browser, number % 2, name, f"audited-{number}")[1]
        assert browser.api((number + 1) % 2, "DELETE", f"/api/keys/{made['id']}")[0] == 204
    seen = [browser.api(at, "GET", "/api/events?limit=100")[1]["items"] for at in (0, 1)]
    assert [each["id"] for each in seen[0]] == [each["id"] for each in seen[1]]
    told = [(each["what"], each["key_name"]) for each in reversed(seen[0]) if each["key_name"] in wanted]
    assert told == [(what, name) for name in wanted for what in ("key.created", "key.deleted")]


# -- the hosts themselves --------------------------------------------------------------------------------------


def known(browser: Browser, at: int) -> dict[str, dict[str, Any]]:
    """The hosts as one of them tells of them, by whether it is that one."""
    hosts = browser.api(at, "GET", "/api/status")[1]["hosts"]
    return {"here" if each["here"] else "there": each for each in hosts}


def same(browser: Browser) -> Callable[[], bool]:
    def is_so() -> bool:
        seen = known(browser, 0)
        return len(seen) == 2 and seen["here"]["settings"] == seen["there"]["settings"]

    return is_so


def test_each_host_tells_of_both_and_in_what_they_differ(hosts: Hosts) -> None:
    browser = signed_in(hosts, OPERATOR)
    until(same(browser))
    for at in (0, 1):
        seen = known(browser, at)
        assert seen["here"]["id"] != seen["there"]["id"]
        assert {each["health"] for each in seen.values()} == {"ok"}
        assert all(each["heard"] for each in seen.values())
    assert known(browser, 0)["here"]["id"] == known(browser, 1)["there"]["id"]
    assert browser.api(0, "GET", "/api/status")[1]["host_differences"] == []
    assert hosts.metric(0, "hosts") == 2
    assert hosts.metric(0, "hosts_other_configuration") == 0

    gateway = hosts.gateways[1]
    before = gateway.file.read_text()
    gateway.file.write_text(yaml.safe_dump({**yaml.safe_load(before), "health_path": "/healthz"}))
    until(lambda: not same(browser)())
    assert browser.api(0, "GET", "/api/status")[1]["host_differences"][0].startswith("Different configurations: ")
    assert browser.send(0, "GET", "/operator") == 200
    assert "Different configurations: " in browser.text
    assert "This one" in browser.text
    assert hosts.metric(0, "hosts_other_configuration") == 1
    asked = {each["here"]: each for each in gateway.ask("status")["hosts"]}
    seen = known(browser, 1)
    assert [asked[True]["id"], asked[False]["id"]] == [seen["here"]["id"], seen["there"]["id"]]
    assert asked[True]["settings"] == seen["here"]["settings"] != seen["there"]["settings"]
    gateway.file.write_text(before)


def test_only_operators_see_the_hosts(hosts: Hosts) -> None:
    browser = signed_in(hosts)
    assert browser.api(0, "GET", "/api/status")[0] == 403
    assert browser.send(0, "GET", "/operator") == 403


def test_a_host_that_is_upgraded_stays_the_one_it_was(hosts: Hosts) -> None:
    """Two managements of it are there for a while, and one of them ends: its row is never taken away."""
    browser = signed_in(hosts, OPERATOR)
    before = known(browser, 0)["there"]
    said: list[int] = []
    upgrading = threading.Thread(target=lambda: said.append(hosts.gateways[1].run("upgrade").code))
    upgrading.start()
    seen: list[str] = []
    while upgrading.is_alive():
        seen.append(known(browser, 0)["there"]["id"])  # or KeyError: it has no row
    upgrading.join()
    assert said == [0], hosts.gateways[1].said[-1]
    assert set(seen) == {before["id"]}
    upgraded = known(browser, 0)["there"]["last_heard"]
    until(lambda: known(browser, 0)["there"]["last_heard"] > upgraded)
    assert abs(_seconds(known(browser, 0)["there"]["running_since"]) - _seconds(before["running_since"])) <= 1


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def test_a_host_that_stops_takes_its_row_away(hosts: Hosts) -> None:
    """The last test: it ends one of them."""
    browser = signed_in(hosts, OPERATOR)
    assert len(known(browser, 0)) == 2
    assert hosts.gateways[1].stop() == 0
    until(lambda: len(known(browser, 0)) == 1)
    assert hosts.health(0)["status"] == "ok"
